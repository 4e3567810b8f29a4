import { accessSync, constants, existsSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { StartRefused } from '../../../errors.ts';
import { reasonOf } from '../failures.ts';
import { adviceFor } from './advice.ts';
import { createSameFileCheck } from './identity.ts';

/** Held for the life of the process; the system lets go of it when the process ends, however it ends. */
export interface ProcessLock {
  /** False once its file was removed or replaced: then another process may hold one too. */
  isInPlace(): boolean;
  release(): void;
}

/**
 * Keeps a second server off the same database. SQLite itself would let both write; but after a failed sync of one, the
 * other could acknowledge what was never made durable. Node has no file lock, so this borrows SQLite's: an exclusive
 * transaction on an empty file beside the database. Throws StartRefused where another process holds it.
 */
export function lockForThisProcess(databasePath: string): ProcessLock {
  const path = `${databasePath}-lock`;
  try {
    // SQLite opens what it may not write for reading, and takes no exclusive lock then.
    if (existsSync(path)) accessSync(path, constants.W_OK);
    const lock = new DatabaseSync(path, { timeout: 0 });
    // Without a journal the lock leaves one empty file behind and no second one.
    lock.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
    return { isInPlace: createSameFileCheck([path]), release: () => lock.close() };
  } catch (error) {
    const problem = problemOf(error, databasePath, path);
    if (problem === undefined) throw error;
    throw new StartRefused([`DATABASE_URL: ${problem}`]);
  }
}

function problemOf(error: unknown, databasePath: string, path: string): string | undefined {
  switch (reasonOf(error)) {
    case 'the database is locked by another process': return `${databasePath} is already served by another process; stop that one first`;
    case 'the database is damaged': return `${path} is not the empty file that this service puts there; remove it`;
    default: return adviceFor(error, path);
  }
}
