import { statSync } from 'node:fs';
import type { DatabaseSync } from 'node:sqlite';

/**
 * A log of this size means that readers have long kept it from starting again at its beginning; then the writer waits for
 * them, as long as for any lock.
 */
const LARGE_LOG_BYTES = 256 * 1024 * 1024;

/**
 * Copies the write-ahead log of a database into its file as far as readers allow (https://sqlite.org/wal.html#ckpt). For the
 * connection that writes: once all is copied, its next commit starts the log again at its beginning. Throws SQLite's errors.
 */
export function checkpoint(database: DatabaseSync, path: string): void {
  const isLarge = (statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0) > LARGE_LOG_BYTES;
  database.exec(`PRAGMA main.wal_checkpoint(${isLarge ? 'TRUNCATE' : 'PASSIVE'})`);
}
