import { randomBytes } from 'node:crypto';
import type { DatabaseSync } from 'node:sqlite';
import { instantOf } from '../../message.ts';

/** The `user_version` of a file that this version made or upgraded. */
export const SCHEMA_VERSION = 2;
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
export const OWN_TABLES = ['inbox'];

/** A write that stores no message, to find out whether the database takes one; its parameter is the time in milliseconds since 1970. */
export const WRITE_PROBE = 'UPDATE inbox SET probed_at = ?';

/** Rows given their `instant` in one transaction. */
const FILL_STEP_ROWS = 50_000;
/** Below every row id but the very least, which nothing gives. */
export const BEFORE_ALL_IDS = -(2n ** 63n);

/** Tells of the progress of something long. */
export type Notice = (event: string, fields: Readonly<Record<string, unknown>>) => void;

/**
 * Brings an empty file, one of the reference schema or one of version 1 to this version; it may be cut off at any moment
 * and run again.
 *
 * `instant` is what messages are ordered by (`instantOf`), or the `ts` itself where that is no instant. `received_at` is
 * the server's time in milliseconds since 1970, NULL in rows older than the column. All that is derived from messages, such
 * as counts, is kept in a file beside this one (`index-schema.ts`), so that storing a message changes as few pages as it can.
 * This service never changes or deletes a row; `edits` tells that another program has.
 */
export function upgrade(database: DatabaseSync, notice: Notice): void {
  const version = database.prepare('PRAGMA user_version').get()?.['user_version'];
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
    CREATE INDEX IF NOT EXISTS messages_by_instant ON messages(instant, message_id);
    ${version === 1 ? DROP_VERSION_1 : ''}
    CREATE TABLE inbox(
      only_row INTEGER PRIMARY KEY CHECK (only_row = 1), generation TEXT NOT NULL, edits INTEGER NOT NULL, probed_at INTEGER NOT NULL
    );
    INSERT INTO inbox VALUES (1, '', 0, 0);
    CREATE TRIGGER count_deletions AFTER DELETE ON messages BEGIN UPDATE inbox SET edits = edits + 1; END;
    CREATE TRIGGER count_updates AFTER UPDATE OF ${REFERENCE_COLUMNS.join(', ')} ON messages BEGIN
      UPDATE inbox SET edits = edits + 1;
      UPDATE messages SET instant = NULL WHERE id = NEW.id;
    END;
    PRAGMA application_id = ${APPLICATION_ID};
    PRAGMA user_version = ${SCHEMA_VERSION};
    COMMIT;
  `);
  renewGeneration(database);
}

/** Version 1 kept in this file what version 2 keeps beside it. */
const DROP_VERSION_1 = `
    DROP INDEX messages_by_sender;
    DROP TABLE senders;
    DROP TABLE inbox;`;

/** Makes every position that was handed out so far one of another database: after a restore the same place may hold another message. */
export function renewGeneration(database: DatabaseSync): void {
  database.prepare('UPDATE inbox SET generation = ?').run(randomBytes(8).toString('hex'));
}

/** Whether a program of the reference schema has written to the file since, such as after a roll-back to it. */
export function hasForeignRows(database: DatabaseSync): boolean {
  return database.prepare('SELECT 1 FROM messages WHERE instant IS NULL LIMIT 1').get() !== undefined;
}

/** Gives rows that lack it their `instant`, some ten thousand in a transaction. */
export function fillInstants(database: DatabaseSync, notice: Notice): void {
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
