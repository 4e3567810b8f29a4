import type { DatabaseSync } from 'node:sqlite';
import { instantOf } from '../../message.ts';

/** The `user_version` of a file that this version made or upgraded. */
export const SCHEMA_VERSION = 1;
/** Marks a file as ours in its header (https://sqlite.org/pragma.html#pragma_application_id): "whib" in ASCII. */
export const APPLICATION_ID = 0x77686962;

/** The columns of the reference schema, which programs that read such a file rely on. */
export const REFERENCE_COLUMNS = ['id', 'message_id', 'from_number', 'to_number', 'ts', 'text'];
/** Tables beside `messages`: names that a file of someone else's must not have. */
export const OWN_TABLES = ['senders', 'inbox'];

/** A write that stores no message, to find out whether the database takes one; its parameter is the time in milliseconds since 1970. */
export const WRITE_PROBE = 'UPDATE inbox SET probed_at = ?';

/** Rows given their `instant` in one transaction. */
const FILL_STEP_ROWS = 50_000;
/** Below every row id that SQLite can give. */
const BEFORE_ALL_IDS = -(2n ** 63n);

/** Tells of the progress of something long. */
export type Notice = (event: string, fields: Readonly<Record<string, unknown>>) => void;

/**
 * Brings a file of the reference schema, or an empty one, to this version; it may be cut off at any moment and run again.
 *
 * `instant` is what messages are ordered by (`instantOf`), or the `ts` itself where that is no instant. `received_at` is
 * the server's time in milliseconds since 1970, NULL in rows older than the column. What would otherwise be counted over
 * the whole table is kept: how many messages each sender has in `senders`, how many of both there are in the single row
 * of `inbox`. The writer keeps them in the transaction that stores a message.
 */
export function upgrade(database: DatabaseSync, notice: Notice): void {
  database.exec(`
    CREATE TABLE IF NOT EXISTS messages(
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      message_id TEXT UNIQUE NOT NULL,
      from_number TEXT NOT NULL,
      to_number TEXT NOT NULL,
      ts TEXT NOT NULL,
      text TEXT NULL
    )`);
  const columns = database.prepare("SELECT name FROM pragma_table_info('messages')").all().map((row) => row['name']);
  if (!columns.includes('instant')) database.exec('ALTER TABLE messages ADD COLUMN instant TEXT');
  if (!columns.includes('received_at')) database.exec('ALTER TABLE messages ADD COLUMN received_at INTEGER');
  fillInstants(database, notice);
  database.exec(`
    BEGIN IMMEDIATE;
    CREATE INDEX messages_by_instant ON messages(instant, message_id);
    CREATE INDEX messages_by_sender ON messages(from_number, instant, message_id);
    CREATE TABLE senders(from_number TEXT PRIMARY KEY NOT NULL, messages INTEGER NOT NULL) WITHOUT ROWID;
    CREATE INDEX senders_by_messages ON senders(messages DESC, from_number);
    CREATE TABLE inbox(
      only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
      messages INTEGER NOT NULL, senders INTEGER NOT NULL, probed_at INTEGER NOT NULL
    );
    ${COUNT_ALL}
    PRAGMA application_id = ${APPLICATION_ID};
    PRAGMA user_version = ${SCHEMA_VERSION};
    COMMIT;
  `);
}

const COUNT_ALL = `
    DELETE FROM senders;
    INSERT INTO senders SELECT from_number, count(*) FROM messages GROUP BY from_number;
    INSERT OR REPLACE INTO inbox SELECT 1, total(messages), count(*), 0 FROM senders;`;

/** Takes in rows that a program of the reference schema has written since, such as after a roll-back to it. */
export function adoptForeignRows(database: DatabaseSync, notice: Notice): void {
  if (database.prepare('SELECT 1 FROM messages WHERE instant IS NULL LIMIT 1').get() === undefined) return;
  // Both at once: rows that were filled and not counted could not be told from others at the next start.
  database.exec('BEGIN IMMEDIATE');
  fillInstants(database, notice);
  database.exec(`${COUNT_ALL} COMMIT`);
}

function fillInstants(database: DatabaseSync, notice: Notice): void {
  database.function('sort_key', { deterministic: true }, (ts) => instantOf(String(ts)) ?? String(ts));
  const total = Number(database.prepare('SELECT count(*) AS rows FROM messages').get()?.['rows']);
  const stepEnd = database.prepare('SELECT max(id) AS id FROM (SELECT id FROM messages WHERE id > ? ORDER BY id LIMIT ?)');
  // A row id may be larger than a JavaScript number is exact.
  stepEnd.setReadBigInts(true);
  const fill = database.prepare('UPDATE messages SET instant = sort_key(ts) WHERE id > ? AND id <= ? AND instant IS NULL');

  let after = BEFORE_ALL_IDS;
  for (let rows = FILL_STEP_ROWS; ; rows += FILL_STEP_ROWS) {
    const end = stepEnd.get(after, FILL_STEP_ROWS)?.['id'];
    if (typeof end !== 'bigint') break;
    fill.run(after, end);
    after = end;
    notice('upgrading', { rows_done: Math.min(rows, total), rows: total });
  }
}
