/**
 * Gives a server process another time than the system's: loaded there with `--import`, it runs in every thread before the service does,
 * and `Date.now()` is what the file says that is named in its own query string.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const clockPath = new URL(import.meta.url).searchParams.get('clock');

if (clockPath !== null) Date.now = () => Number(readFileSync(clockPath, 'utf8'));

/** A clock that stands still but for being advanced, for a server process; pass `nodeArguments` to it. */
export function createMovedClock(folder: string, begin: number) {
  const path = join(folder, 'clock');
  const url = pathToFileURL(import.meta.filename);
  url.searchParams.set('clock', path);
  let now = begin;
  const show = () => {
    // Whole at any moment.
    writeFileSync(`${path}-next`, String(now));
    renameSync(`${path}-next`, path);
  };
  show();
  return {
    nodeArguments: ['--import', url.href],
    now: () => now,
    advance(ms: number): void {
      now += ms;
      show();
    },
  };
}
