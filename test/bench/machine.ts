import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs';
import { cpus, release, totalmem, type } from 'node:os';
import { join } from 'node:path';
import { temporaryFolder } from '../support/temporary.ts';
import { inScope } from './scope.ts';
import { median, show } from './stage.ts';

const SYNCS = 200;
const SYNC_BYTES = 64 * 1024;

/** What all the figures depend on. */
export async function describeMachine(): Promise<Record<string, string>> {
  return {
    processor: `${cpus().length} × ${cpus()[0]?.model}`,
    memory: `${show(totalmem() / 1024 ** 3)} GiB`,
    system: `${type()} ${release()}`,
    versions: `Node.js ${process.versions.node}, SQLite ${process.versions['sqlite']}`,
    'sync of 64 KiB': `${show(await inScope(async (scope) => measureSync(temporaryFolder(scope))))} ms (median of ${SYNCS})`,
  };
}

function measureSync(folder: string): number {
  const file = openSync(join(folder, 'sync'), 'w');
  const piece = Buffer.alloc(SYNC_BYTES, 'x');
  const times = Array.from({ length: SYNCS }, () => {
    const begin = performance.now();
    writeSync(file, piece);
    fdatasyncSync(file);
    return performance.now() - begin;
  });
  closeSync(file);
  return median(times);
}
