import { existsSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { StartRefused } from '../../errors.ts';
import { instantOf } from '../../message.ts';
import { reasonOf, resultCode, SQLITE_READONLY_ROLLBACK, THIS_USER } from './failures.ts';

/** Marks a file as ours in its header (https://sqlite.org/pragma.html#pragma_application_id): "whib" in ASCII. */
const APPLICATION_ID = 0x77686962;
/** Rows given their new columns in one transaction of an upgrade. */
const UPGRADE_STEP_ROWS = 50_000;
/**
 * Longest wait for a lock of another process. A message waits at most for a probe, the batch before its own and its
 * own, so three of these stay below the 5 s after which a sender is answered 503.
 */
export const BUSY_TIMEOUT_MS = 1500;

export type Notice = (event: string, fields: Readonly<Record<string, unknown>>) => void;

/** The reference schema, column for column, so that programs that read such a file read ours (CONTRACT section 9). */
const MESSAGES_TABLE = `
  CREATE TABLE IF NOT EXISTS messages(
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    message_id TEXT UNIQUE NOT NULL,
    from_number TEXT NOT NULL,
    to_number TEXT NOT NULL,
    ts TEXT NOT NULL,
    text TEXT NULL
  )`;
const REFERENCE_COLUMNS = ['id', 'message_id', 'from_number', 'to_number', 'ts', 'text'];

/** A write that stores no message, to find out whether the database takes one; its parameter is the time in milliseconds since 1970. */
export const WRITE_PROBE = 'UPDATE inbox SET probed_at = ?';

/** Upgrades in order; the position of each is the `user_version` that it starts from. Each can be cut off and run again. */
const UPGRADES: readonly ((database: DatabaseSync, notice: Notice) => void)[] = [addInstantAndReceivedAt, keepCounts];

/**
 * `instant` is what messages are ordered by (`instantOf`), or the `ts` itself where that is no instant; `received_at`
 * is the server's time in milliseconds since 1970, NULL for rows older than this column.
 */
function addInstantAndReceivedAt(database: DatabaseSync, notice: Notice): void {
  database.exec(MESSAGES_TABLE);
  const columns = columnNames(database);
  if (!columns.includes('instant')) database.exec('ALTER TABLE messages ADD COLUMN instant TEXT');
  if (!columns.includes('received_at')) database.exec('ALTER TABLE messages ADD COLUMN received_at INTEGER');

  database.function('sort_key', { deterministic: true }, (ts) => instantOf(String(ts)) ?? String(ts));
  const last = Number(database.prepare('SELECT max(id) AS last FROM messages').get()?.['last'] ?? 0);
  const fill = database.prepare('UPDATE messages SET instant = sort_key(ts) WHERE id > ? AND id <= ? AND instant IS NULL');
  for (let id = 0; id < last; id += UPGRADE_STEP_ROWS) {
    fill.run(id, id + UPGRADE_STEP_ROWS);
    notice('upgrading', { step: 'ordering by instant', up_to_id: Math.min(id + UPGRADE_STEP_ROWS, last), last_id: last });
  }
  if (last > 0) notice('upgrading', { step: 'building the indexes' });
  database.exec(`
    CREATE INDEX IF NOT EXISTS messages_by_instant ON messages(instant, message_id);
    CREATE INDEX IF NOT EXISTS messages_by_sender ON messages(from_number, instant, message_id);
  `);
}

/**
 * What would otherwise be counted over the whole table: how many messages each sender has, and in the single row of
 * `inbox` how many messages and senders there are. The writer keeps both in the transaction that stores a message.
 */
function keepCounts(database: DatabaseSync): void {
  database.exec(`
    BEGIN IMMEDIATE;
    DROP TABLE IF EXISTS senders;
    DROP TABLE IF EXISTS inbox;
    CREATE TABLE senders(from_number TEXT PRIMARY KEY NOT NULL, messages INTEGER NOT NULL) WITHOUT ROWID;
    INSERT INTO senders SELECT from_number, count(*) FROM messages GROUP BY from_number;
    CREATE INDEX senders_by_messages ON senders(messages DESC, from_number);
    CREATE TABLE inbox(
      only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
      messages INTEGER NOT NULL, senders INTEGER NOT NULL, probed_at INTEGER NOT NULL
    );
    INSERT INTO inbox SELECT 1, total(messages), count(*), 0 FROM senders;
    COMMIT;
  `);
}

/**
 * Opens the one read-write connection: judges the file without touching it, upgrades it, and makes what an earlier
 * process left in the write-ahead log durable. Throws StartRefused, saying what to mend.
 */
export function openForWriting(path: string, notice: Notice): DatabaseSync {
  try {
    if (existsSync(path) && statSync(path).size > 0) judgeUntouched(path);
    const database = new DatabaseSync(path, { timeout: BUSY_TIMEOUT_MS });
    refuseForeign(database, path);
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL');
    if (readPragma(database, 'journal_mode') !== 'wal') {
      throw new StartRefused([`DATABASE_URL: ${path} cannot use write-ahead logging; put it on a local file system`]);
    }
    upgrade(database, notice);
    database.prepare(WRITE_PROBE).run(Date.now());
    makeDurable(database, path);
    return database;
  } catch (error) {
    if (error instanceof StartRefused || resultCode(error) === undefined) throw error;
    throw new StartRefused([openProblem(error, path)]);
  }
}

/** Throws StartRefused where there can be no database file at this path. */
export function refuseUnusablePath(path: string): void {
  const folder = dirname(path);
  if (!existsSync(folder)) throw new StartRefused([`DATABASE_URL: the folder ${folder} does not exist; create it`]);
  if (!statSync(folder).isDirectory()) throw new StartRefused([`DATABASE_URL: ${folder} is not a folder`]);
  if (existsSync(path) && !statSync(path).isFile()) throw new StartRefused([`DATABASE_URL: ${path} is not a file`]);
}

/** A read-only connection never checkpoints, so a file that is refused keeps every byte. */
function judgeUntouched(path: string): void {
  const database = new DatabaseSync(path, { readOnly: true, timeout: BUSY_TIMEOUT_MS });
  try {
    refuseForeign(database, path);
  } catch (error) {
    if (resultCode(error) !== SQLITE_READONLY_ROLLBACK) throw error;
  } finally {
    database.close();
  }
}

function refuseForeign(database: DatabaseSync, path: string): void {
  const refuse = (problem: string) => new StartRefused([`DATABASE_URL: ${path} ${problem}`]);
  const version = Number(readPragma(database, 'user_version'));
  if (version > UPGRADES.length) throw refuse(`was made by a newer version (schema ${version}, this one knows ${UPGRADES.length})`);
  const applicationId = readPragma(database, 'application_id');
  if (applicationId !== 0 && applicationId !== APPLICATION_ID) throw refuse('belongs to another application');
  if (readPragma(database, 'encoding') !== 'UTF-8') throw refuse('is not encoded in UTF-8; dump it and load it into a new file');

  const tables = database.prepare("SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')").all().map((row) => row['name']);
  if (tables.length === 0) return;
  if (!tables.includes('messages')) throw refuse('is a database of something else: it has no table messages');
  const missing = REFERENCE_COLUMNS.filter((column) => !columnNames(database).includes(column));
  if (missing.length > 0) throw refuse(`has a table messages without ${missing.join(', ')}`);
  if (!hasUniqueMessageId(database)) throw refuse('has a table messages whose message_id is not unique');
  const demanded = columnsThatMustBeGiven(database).filter((column) => !REFERENCE_COLUMNS.includes(column));
  if (demanded.length > 0) throw refuse(`has a table messages that wants a value for ${demanded.join(', ')}`);
}

function columnNames(database: DatabaseSync): string[] {
  return database.prepare("SELECT name FROM pragma_table_info('messages')").all().map((row) => String(row['name']));
}

function columnsThatMustBeGiven(database: DatabaseSync): string[] {
  const sql = `SELECT name FROM pragma_table_info('messages') WHERE "notnull" = 1 AND dflt_value IS NULL`;
  return database.prepare(sql).all().map((row) => String(row['name']));
}

function hasUniqueMessageId(database: DatabaseSync): boolean {
  return database.prepare(`
    SELECT 1 FROM pragma_index_list('messages') AS list
    WHERE list."unique" = 1 AND list.partial = 0
      AND (SELECT group_concat(name) FROM pragma_index_info(list.name)) = 'message_id'
  `).get() !== undefined;
}

function upgrade(database: DatabaseSync, notice: Notice): void {
  const version = Number(readPragma(database, 'user_version'));
  UPGRADES.slice(version).forEach((step, index) => {
    step(database, notice);
    database.exec(`PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${version + index + 1}`);
  });
}

/**
 * Copies the log into the file and syncs it. After a failed fsync an unsynced row can be visible and its repeat would
 * look like a duplicate of something durable; so this comes before the first acknowledgement.
 */
function makeDurable(database: DatabaseSync, path: string): void {
  const result = database.prepare('PRAGMA wal_checkpoint(TRUNCATE)').get();
  if (result?.['busy'] !== 0) {
    throw new StartRefused([`DATABASE_URL: ${path} is in use by another process; stop it, or wait until it lets go`]);
  }
}

function readPragma(database: DatabaseSync, name: string): unknown {
  return Object.values(database.prepare(`PRAGMA ${name}`).get() ?? {})[0];
}

function openProblem(error: unknown, path: string): string {
  const remedy: Partial<Record<ReturnType<typeof reasonOf>, string>> = {
    'the database is damaged': 'is not a SQLite database, or is damaged; move it away or restore a backup',
    'the database is read-only': `cannot be written; make the file and its folder writable for ${THIS_USER}`,
    'the database is locked by another process': 'is locked by another process; stop it, or wait until it lets go',
    'the disk is full': 'cannot be opened: the disk is full; free some space',
    'a write failed': 'cannot be written: the disk reports an error',
    'a sync to disk failed': 'cannot be made durable: a sync to disk failed',
  };
  const otherwise = `cannot be opened; make the file and its folder readable and writable for ${THIS_USER}`;
  return `DATABASE_URL: ${path} ${remedy[reasonOf(error)] ?? otherwise}`;
}
