import { statSync } from 'node:fs';
import type { DatabaseSync } from 'node:sqlite';

/** Of a log that readers have long kept from starting again at its beginning. */
const LARGE_LOG_BYTES = 512 * 1024 * 1024;

/** Whether the log of a database is so large that reads have to end, for the writer to begin it again. */
export function isLogLarge(path: string): boolean {
  return (statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0) > LARGE_LOG_BYTES;
}

/**
 * Copies the write-ahead log of a database into its file as far as readers allow (https://sqlite.org/wal.html#ckpt). For the
 * connection that writes: once all is copied, its next commit starts the log again at its beginning. Where that is large, this waits
 * for the readers, as long as for any lock, and empties it. Throws SQLite's errors.
 */
export function checkpoint(database: DatabaseSync, path: string): void {
  database.exec(`PRAGMA main.wal_checkpoint(${isLogLarge(path) ? 'TRUNCATE' : 'PASSIVE'})`);
}
