/** The generated databases: made once, kept from run to run, and only ever used as copies. */
import { closeSync, constants, copyFileSync, existsSync, fsyncSync, mkdirSync, openSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { CHECKOUT } from '../support/server-process.ts';
import { temporaryFolder, type Scope } from '../support/temporary.ts';
import { fill } from './fill.ts';
import type { Bench } from './stage.ts';

export const OUTPUT = join(CHECKOUT, '.bench');

/** A database of so many messages, of 200 thousand senders unless there are too few, for the caller alone. Of 0: none yet. */
export async function provideDatabase(scope: Scope, bench: Bench, rows: number): Promise<string> {
  const path = join(temporaryFolder(scope), 'app.db');
  if (rows === 0) return path;
  const source = join(OUTPUT, `messages-${rows}.db`);
  if (!existsSync(source)) await make(source, bench, rows);
  for (const name of filesOf(source)) {
    const copy = path + name.slice(basename(source).length);
    copyFileSync(join(OUTPUT, name), copy, constants.COPYFILE_FICLONE);
    // Otherwise the system would write it out in the middle of what is measured.
    sync(copy);
  }
  return path;
}

/** The file itself, last, and those beside it that belong to it. */
function filesOf(path: string): string[] {
  return readdirSync(OUTPUT).filter((name) => name.startsWith(basename(path))).toSorted((a, b) => b.length - a.length);
}

async function make(path: string, bench: Bench, rows: number): Promise<void> {
  bench.progress(`making a database of ${rows} rows, once`);
  const unfinished = join(OUTPUT, `unfinished-${rows}.db`);
  for (const name of filesOf(unfinished)) rmSync(join(OUTPUT, name));
  await fill(unfinished, rows, bench.progress);
  // The file itself comes last: where it is, all is there.
  for (const name of filesOf(unfinished)) renameSync(join(OUTPUT, name), path + name.slice(basename(unfinished).length));
}

function sync(path: string): void {
  const file = openSync(path, 'r+');
  fsyncSync(file);
  closeSync(file);
}

/** Makes the folder, and sends temporary files there too: what is in memory on many machines, as /tmp, syncs in no time. */
export function prepareOutput(): void {
  mkdirSync(OUTPUT, { recursive: true });
  process.env['TMPDIR'] = OUTPUT;
}
