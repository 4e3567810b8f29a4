import { existsSync, statSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { StartRefused } from '../../../errors.ts';
import { AS_BY_DEFAULT, BUSY_TIMEOUT_MS } from '../connection-options.ts';
import { resultCode, SQLITE_READONLY_ROLLBACK } from '../failures.ts';
import { adviceFor } from './advice.ts';
import { beginGeneration, forgetGenerations } from './generations.ts';
import type { Notice } from './upgrade/schema.ts';
import { makeUsable, readPragma, requireUsable } from './upgrade/usable.ts';

/** Pages in memory: those of the index on `message_id` that lead to its leaves, of tens of millions of messages. */
const CACHE_KIB = 16 * 1024;

/** What the writer finds in the database that it has opened. */
export interface Opened {
  readonly engineVersion: string;
  /** The name of this start (`generations.ts`). */
  readonly generation: string;
  /** How many messages are stored and not hidden, and how many were ever hidden. */
  readonly messages: number;
  readonly vanished: number;
  /** When the newest row was stored before this start, in milliseconds since 1970. */
  readonly lastStoredAt: number | undefined;
}

/**
 * Opens the one read-write connection: judges the file without touching it, makes what an earlier process left in the
 * write-ahead log durable, and upgrades it. `isOfAnother`: whether what stands beside it is of other messages, so that what was handed
 * out before may not be of these. Throws StartRefused, saying what to mend.
 */
export function openForWriting(
  path: string, notice: Notice, isOfAnother: (database: DatabaseSync) => boolean,
): { readonly database: DatabaseSync; readonly opened: Opened } {
  try {
    if (existsSync(path) && statSync(path).size > 0) inspectReadOnly(path);
    const database = new DatabaseSync(path, { ...AS_BY_DEFAULT, timeout: BUSY_TIMEOUT_MS });
    const usable = requireUsable(database, path);
    // Checkpoints are the writer's to make: SQLite keeps the failed sync of an automatic one to itself.
    database.exec(`
      PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -${CACHE_KIB};
      PRAGMA secure_delete = ON`);
    if (readPragma(database, 'journal_mode') !== 'wal') {
      throw new StartRefused([`DATABASE_URL: ${path} cannot use write-ahead logging; put it on a local file system`]);
    }
    checkpointAll(database, path);
    requireWholePages(database, path);
    makeUsable(database, usable, notice);
    // Durable before it counts as done, and no reason for a large log.
    checkpointAll(database, path);
    if (isOfAnother(database)) forgetGenerations(database);
    return { database, opened: begin(database) };
  } catch (error) {
    const advice = adviceFor(error, path);
    if (advice === undefined) throw error;
    throw new StartRefused([`DATABASE_URL: ${advice}`]);
  }
}

/** SQLite takes what is missing of the last page for zeros, and finds no fault with it. Throws StartRefused. */
function requireWholePages(database: DatabaseSync, path: string): void {
  if (statSync(path).size % Number(readPragma(database, 'page_size')) === 0) return;
  throw new StartRefused([`DATABASE_URL: ${path} ends in the middle of a page, as it was cut off; restore a backup`]);
}

/** Its first write shows whether the database takes any. */
function begin(database: DatabaseSync): Opened {
  const generation = beginGeneration(database);
  const { engine, messages, vanished, newest } = database.prepare(`
    SELECT sqlite_version() AS engine, messages, vanished, (SELECT received_at FROM messages ORDER BY id DESC LIMIT 1) AS newest
    FROM inbox`).get() ?? {};
  return {
    generation, engineVersion: String(engine), messages: Number(messages), vanished: Number(vanished),
    lastStoredAt: typeof newest === 'number' ? newest : undefined,
  };
}

/** A read-only connection never checkpoints, so a file that is refused keeps every byte. */
function inspectReadOnly(path: string): void {
  const database = new DatabaseSync(path, { ...AS_BY_DEFAULT, readOnly: true, timeout: BUSY_TIMEOUT_MS });
  try {
    requireUsable(database, path);
  } catch (error) {
    if (resultCode(error) !== SQLITE_READONLY_ROLLBACK) throw error;
  } finally {
    database.close();
  }
}

/**
 * Copies the log into the file and syncs it. After a failed sync an unsynced row can be visible, and its repeat would look
 * like a duplicate of something durable; so this comes before the first acknowledgement. A reader of another process
 * may keep the log from being emptied, but not, once all of it is copied, from being safe.
 */
function checkpointAll(database: DatabaseSync, path: string): void {
  const result = database.prepare('PRAGMA wal_checkpoint(TRUNCATE)').get();
  if (result?.['busy'] !== 0 && result?.['log'] !== result?.['checkpointed']) {
    throw new StartRefused([`DATABASE_URL: ${path} is in use by another process; stop it, or wait until it lets go`]);
  }
}
