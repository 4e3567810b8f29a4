import { existsSync, statSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { StartRefused } from '../../errors.ts';
import { resultCode, SQLITE_READONLY_ROLLBACK } from './failures.ts';
import { adviceFor } from './file-advice.ts';
import { beginGeneration, forgetGenerations } from './generations.ts';
import { isIndexOfAnotherDatabase } from './index-identity.ts';
import type { Opened } from './protocol.ts';
import {
  APPLICATION_ID, BUSY_TIMEOUT_MS, type Notice, OWN_TABLES, REFERENCE_COLUMNS, SCHEMA_VERSION, takeInForeignRows, upgrade,
} from './schema.ts';

/** Pages in memory: those of the index on `message_id` that lead to its leaves, of tens of millions of messages. */
const CACHE_KIB = 16 * 1024;

/**
 * Opens the one read-write connection: judges the file without touching it, makes what an earlier process left in the
 * write-ahead log durable, and upgrades it. Throws StartRefused, saying what to mend.
 */
export function openForWriting(path: string, notice: Notice): { readonly database: DatabaseSync; readonly opened: Opened } {
  try {
    if (existsSync(path) && statSync(path).size > 0) inspectReadOnly(path);
    const database = new DatabaseSync(path, { timeout: BUSY_TIMEOUT_MS });
    requireUsable(database, path);
    // Checkpoints are the writer's to make: SQLite keeps the failed sync of an automatic one to itself.
    database.exec(`
      PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -${CACHE_KIB}`);
    if (readPragma(database, 'journal_mode') !== 'wal') {
      throw new StartRefused([`DATABASE_URL: ${path} cannot use write-ahead logging; put it on a local file system`]);
    }
    checkpointAll(database, path);
    bringUpToDate(database, path, notice);
    return { database, opened: begin(database) };
  } catch (error) {
    const advice = adviceFor(error, path);
    if (advice === undefined) throw error;
    throw new StartRefused([`DATABASE_URL: ${advice}`]);
  }
}

function bringUpToDate(database: DatabaseSync, path: string, notice: Notice): void {
  if (readPragma(database, 'user_version') === SCHEMA_VERSION) takeInForeignRows(database, notice);
  else upgrade(database, notice);
  // Durable before it counts as done, and no reason for a large log.
  checkpointAll(database, path);
  if (isIndexOfAnotherDatabase(database, path)) forgetGenerations(database);
}

/** Its first write shows whether the database takes any. */
function begin(database: DatabaseSync): Opened {
  const generation = beginGeneration(database);
  const { engine, messages, newest } = database.prepare(`
    SELECT sqlite_version() AS engine, messages, (SELECT received_at FROM messages ORDER BY id DESC LIMIT 1) AS newest
    FROM inbox`).get() ?? {};
  return {
    generation, engineVersion: String(engine), messages: Number(messages), lastStoredAt: typeof newest === 'number' ? newest : undefined,
  };
}

/** A read-only connection never checkpoints, so a file that is refused keeps every byte. */
function inspectReadOnly(path: string): void {
  const database = new DatabaseSync(path, { readOnly: true, timeout: BUSY_TIMEOUT_MS });
  try {
    requireUsable(database, path);
  } catch (error) {
    if (resultCode(error) !== SQLITE_READONLY_ROLLBACK) throw error;
  } finally {
    database.close();
  }
}

/** Throws StartRefused unless the file is empty, of the reference schema, or ours. */
function requireUsable(database: DatabaseSync, path: string): void {
  const refuse = (problem: string) => new StartRefused([`DATABASE_URL: ${path} ${problem}`]);
  const version = Number(readPragma(database, 'user_version'));
  const applicationId = readPragma(database, 'application_id');
  if (version > SCHEMA_VERSION) throw refuse(`was made by a newer version (schema ${version}, this one knows ${SCHEMA_VERSION})`);
  const isOurs = applicationId === APPLICATION_ID && version > 0;
  if (!isOurs && (applicationId !== 0 || version !== 0)) throw refuse('belongs to another application');
  if (readPragma(database, 'encoding') !== 'UTF-8') throw refuse('is not encoded in UTF-8; dump it and load it into a new file');

  const names = namesOf(database, "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')");
  if (names.length === 0) return;
  if (!names.includes('messages')) throw refuse('is a database of something else: it has no table messages');
  const taken = isOurs ? [] : OWN_TABLES.filter((name) => names.includes(name));
  if (taken.length > 0) throw refuse(`has a table or view ${taken.join(', ')}, a name that this service needs; rename it`);
  requireMessagesTable(database, refuse);
}

function requireMessagesTable(database: DatabaseSync, refuse: (problem: string) => StartRefused): void {
  const columns = namesOf(database, "SELECT name FROM pragma_table_info('messages')");
  const missing = REFERENCE_COLUMNS.filter((column) => !columns.includes(column));
  if (missing.length > 0) throw refuse(`has a table messages without ${missing.join(', ')}`);
  const mandatory = namesOf(database, `SELECT name FROM pragma_table_info('messages') WHERE "notnull" = 1 AND dflt_value IS NULL`);
  const unknown = mandatory.filter((column) => !REFERENCE_COLUMNS.includes(column));
  if (unknown.length > 0) throw refuse(`has a table messages that wants a value for ${unknown.join(', ')}`);

  const unique = namesOf(database, `
    SELECT (SELECT group_concat(name) FROM pragma_index_info(list.name)) || iif(list.partial, ' (partial)', '') AS name
    FROM pragma_index_list('messages') AS list WHERE list."unique" = 1`);
  if (!unique.includes('message_id')) throw refuse('has a table messages whose message_id is not unique');
  const others = unique.filter((indexed) => indexed !== 'message_id');
  if (others.length > 0) throw refuse(`has a unique index on ${others.join('; ')}, which would refuse messages; drop it`);
}

function namesOf(database: DatabaseSync, sql: string): string[] {
  return database.prepare(sql).all().map((row) => String(row['name']));
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

function readPragma(database: DatabaseSync, name: string): unknown {
  return Object.values(database.prepare(`PRAGMA ${name}`).get() ?? {})[0];
}
