import type { DatabaseSync } from 'node:sqlite';
import { instantOf } from '../../message.ts';

/** The `user_version` of a file that this version made or upgraded. */
export const SCHEMA_VERSION = 3;
/**
 * Longest wait for a lock of another process, in milliseconds. A message waits at most for a probe, the batch before its
 * own and its own, so three of these stay below the time after which a sender is answered 503 in any case.
 */
export const BUSY_TIMEOUT_MS = 1500;
/** Marks a file as ours in its header (https://sqlite.org/pragma.html#pragma_application_id): "whib" in ASCII. */
export const APPLICATION_ID = 0x77686962;

/** The columns of the reference schema, which programs that read such a file rely on. */
export const REFERENCE_COLUMNS = ['id', 'message_id', 'from_number', 'to_number', 'ts', 'text'];
/** Tables beside `messages`: names that a file of someone else's must not have. */
export const OWN_TABLES = ['inbox', 'generations'];

/** A write that stores no message, to find out whether the database takes one; its parameter is the time in milliseconds since 1970. */
export const WRITE_PROBE = 'UPDATE inbox SET probed_at = ?';

/** Rows given their `instant` in one transaction. */
const FILL_STEP_ROWS = 50_000;
/** Below every row id but the very least, which nothing gives. */
export const BEFORE_ALL_IDS = -(2n ** 63n);

/** Tells of the progress of something long. */
export type Notice = (event: string, fields: Readonly<Record<string, unknown>>) => void;

/**
 * Brings an empty file, one of the reference schema or one of an earlier version to this version; it may be cut off at any moment
 * and run again.
 *
 * `instant` is what messages are ordered by (`instantOf`), or the `ts` itself where that is no instant. `received_at` is
 * the server's time in milliseconds since 1970, NULL in rows older than the column. All that is derived from messages, such
 * as counts by sender, is kept in a file beside this one (`index-schema.ts`), so that storing a message changes as few pages as it can;
 * but for `inbox.messages`, how many there are, by which pages without a filter do not need that file. It is NULL where another program
 * has added rows: then the next start counts. This service never changes or deletes a row; `edits` tells that another program has.
 * `generations` has a row for each start: its random name, and the newest sequence of before it (`generations.ts`).
 */
export function upgrade(database: DatabaseSync, notice: Notice): void {
  const version = Number(database.prepare('PRAGMA user_version').get()?.['user_version']);
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
  if (version === 0) fillAllInstants(database, notice);
  else fillMissingInstants(database, notice);
  database.exec(`
    BEGIN IMMEDIATE;
    CREATE INDEX IF NOT EXISTS messages_by_instant ON messages(instant, message_id);
    CREATE TABLE generations(number INTEGER PRIMARY KEY, generation TEXT UNIQUE NOT NULL, begins_after INTEGER NOT NULL);
    ${DROP_EARLIER[version] ?? ''}
    CREATE TABLE inbox(
      only_row INTEGER PRIMARY KEY CHECK (only_row = 1), messages INTEGER, edits INTEGER NOT NULL, probed_at INTEGER NOT NULL
    );
    INSERT INTO inbox SELECT 1, count(*), 0, 0 FROM messages;
    CREATE TRIGGER count_deletions AFTER DELETE ON messages BEGIN
      UPDATE inbox SET messages = messages - 1, edits = edits + 1;
    END;
    CREATE TRIGGER count_updates AFTER UPDATE OF ${REFERENCE_COLUMNS.join(', ')} ON messages BEGIN
      UPDATE inbox SET edits = edits + 1;
      UPDATE messages SET instant = NULL WHERE id = NEW.id;
    END;
    CREATE TRIGGER notice_insertions AFTER INSERT ON messages WHEN NEW.instant IS NULL BEGIN
      UPDATE inbox SET messages = NULL, edits = edits + 1;
    END;
    PRAGMA application_id = ${APPLICATION_ID};
    PRAGMA user_version = ${SCHEMA_VERSION};
    COMMIT;
  `);
}

/** By version: what it kept in this file, and this one keeps elsewhere or otherwise. Positions that were handed out stay good. */
const DROP_EARLIER: Readonly<Record<number, string>> = {
  1: `
    DROP INDEX messages_by_sender;
    DROP TABLE senders;
    DROP TABLE inbox;`,
  2: `
    INSERT INTO generations(generation, begins_after) SELECT generation, ${BEFORE_ALL_IDS} FROM inbox;
    DROP TRIGGER count_deletions;
    DROP TRIGGER count_updates;
    DROP TABLE inbox;`,
};

/** Takes in what another program has done to the rows since, such as after a roll-back to the reference program. */
export function takeInForeignRows(database: DatabaseSync, notice: Notice): void {
  fillMissingInstants(database, notice);
  database.exec('UPDATE inbox SET messages = (SELECT count(*) FROM messages) WHERE messages IS NULL');
}

/** Gives every row that lacks it its `instant`, some ten thousand in a transaction, in their order in the file. */
function fillAllInstants(database: DatabaseSync, notice: Notice): void {
  defineSortKey(database);
  const total = countOf(database, 'SELECT count(*) AS rows FROM messages');
  const stepEnd = database.prepare('SELECT max(id) AS id FROM (SELECT id FROM messages WHERE id > ? ORDER BY id LIMIT ?)');
  // A row id may be larger than a JavaScript number is exact.
  stepEnd.setReadBigInts(true);
  const fill = database.prepare('UPDATE messages SET instant = sort_key(ts) WHERE id > ? AND id <= ? AND instant IS NULL');

  let after = BEFORE_ALL_IDS;
  for (let rows = FILL_STEP_ROWS; ; rows += FILL_STEP_ROWS) {
    const end = stepEnd.get(after, FILL_STEP_ROWS)?.['id'];
    if (typeof end !== 'bigint') break;
    fill.run(after, end);
    // Or else the log would grow to the size of the table, and nobody may write meanwhile anyway.
    database.exec('PRAGMA wal_checkpoint(TRUNCATE)');
    after = end;
    notice('upgrading', { rows_done: Math.min(rows, total), rows: total });
  }
}

/** The same, where an index leads to the rows that lack it. */
function fillMissingInstants(database: DatabaseSync, notice: Notice): void {
  defineSortKey(database);
  const total = countOf(database, 'SELECT count(*) AS rows FROM messages WHERE instant IS NULL');
  const fill = database.prepare(`
    UPDATE messages SET instant = sort_key(ts)
    WHERE id IN (SELECT id FROM messages INDEXED BY messages_by_instant WHERE instant IS NULL LIMIT ${FILL_STEP_ROWS})`);
  for (let rows = 0; rows < total; rows += FILL_STEP_ROWS) {
    fill.run();
    notice('upgrading', { rows_done: Math.min(rows + FILL_STEP_ROWS, total), rows: total });
  }
}

function defineSortKey(database: DatabaseSync): void {
  database.function('sort_key', { deterministic: true }, (ts) => instantOf(String(ts)) ?? String(ts));
}

function countOf(database: DatabaseSync, sql: string): number {
  return Number(database.prepare(sql).get()?.['rows']);
}
