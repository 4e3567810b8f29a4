import { statSync } from 'node:fs';
import type { DatabaseSync } from 'node:sqlite';

/** Of a log that was kept from starting again at its beginning: eight times what is written between two checkpoints. */
const LARGE_LOG_BYTES = 512 * 1024 * 1024;

/** The size of the log of a database; 0 where there is none. */
export const logBytes = (path: string): number => statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0;

/** Whether the log of a database is so large that it is emptied as soon as that can be, also while messages come. */
export function isLogLarge(path: string): boolean {
  return logBytes(path) > LARGE_LOG_BYTES;
}

/** Pages in a write-ahead log since it began, and how many of them are copied into the database file. */
export interface LogState {
  readonly pages: number;
  readonly copied: number;
}

/** Returns a function that looks at the log in a microsecond or two, without a lock. It throws SQLite's errors. */
export function createLogMeter(database: DatabaseSync): () => LogState {
  const measure = database.prepare('PRAGMA main.wal_checkpoint(NOOP)');
  return () => {
    const { log, checkpointed } = measure.get() ?? {};
    return { pages: Number(log), copied: Number(checkpointed) };
  };
}

/**
 * Copies the write-ahead log of a database into its file as far as readers allow (https://sqlite.org/wal.html#ckpt). For the
 * connection that writes: once all is copied, its next commit starts the log again at its beginning. Where that is large or
 * `empty` is true, this waits for the readers, as long as for any lock, and empties it. Throws SQLite's errors.
 */
export function checkpoint(database: DatabaseSync, path: string, empty = false): void {
  database.exec(`PRAGMA main.wal_checkpoint(${empty || isLogLarge(path) ? 'TRUNCATE' : 'PASSIVE'})`);
}
