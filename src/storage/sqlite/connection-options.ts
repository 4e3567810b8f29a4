import type { DatabaseSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';

/**
 * Longest wait for a lock of another process, in milliseconds. A message waits at most for a probe, the batch before its
 * own and its own, so three of these stay below the time after which a sender is answered 503 in any case.
 */
export const BUSY_TIMEOUT_MS = 1500;
/** How SQLite is by default, and so were those who have defined what stands in a file: each connection to one has to be like that. */
export const AS_BY_DEFAULT = { enableForeignKeyConstraints: false, enableDoubleQuotedStringLiterals: true };

/** For ATTACH: a URI (https://sqlite.org/uri.html), as only that can say that the file is for reading. */
export const readOnlyUri = (path: string) => `${pathToFileURL(path).href}?mode=ro`;

/** Does what takes locks, but waits for none. */
export function withoutWaiting<Result>(database: DatabaseSync, work: () => Result): Result {
  database.exec('PRAGMA busy_timeout = 0');
  try {
    return work();
  } finally {
    database.exec(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`);
  }
}
