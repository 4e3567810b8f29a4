import { DatabaseSync } from 'node:sqlite';
import { createHiding, type ErasureProgress } from '../../src/storage/sqlite/file/hiding.ts';
import type { Erasure } from '../../src/storage/storage.ts';

/** Hides messages of a database that is not served, as the service does in its first step: their rows are still there. */
export function hide(path: string, { which, expiredBefore }: { readonly which: Erasure; readonly expiredBefore: number }): void {
  const database = new DatabaseSync(path);
  const hiding = createHiding(database);
  database.exec('BEGIN');
  while (!hiding.expire(expiredBefore, expiredBefore).isDone);
  let progress: ErasureProgress | null = null;
  do ({ progress } = hiding.erase({ which, requestId: 'request', at: 1, progress }));
  while (progress !== null);
  database.exec('COMMIT');
  database.close();
}
