import { randomBytes } from 'node:crypto';
import type { DatabaseSync } from 'node:sqlite';
import { instantOf } from '../../../../message.ts';
import { acceptAnyRowId, BEFORE_ALL_IDS } from '../../row-ids.ts';
import { countVisible } from '../hidden.ts';
import { CREATE_INDEX, CREATE_TABLES, CREATE_TRIGGERS, SCHEMA_VERSION, unlikeDefined } from './own-objects.ts';
import { MAKE_TEXTS } from './stored-values.ts';

/** Marks a file as ours in its header (https://sqlite.org/pragma.html#pragma_application_id): "whib" in ASCII. */
export const APPLICATION_ID = 0x77686962;

/** Of the key for HMAC-SHA256: as long as what it makes (RFC 2104, section 3). */
const ID_KEY_BYTES = 32;
/** Rows given their `instant` in one transaction. */
const FILL_STEP_ROWS = 50_000;

/** Tells of the progress of something long. */
export type Notice = (event: string, fields: Readonly<Record<string, unknown>>) => void;

const CREATE_MESSAGES = `
  CREATE TABLE IF NOT EXISTS messages(
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    message_id TEXT UNIQUE NOT NULL,
    from_number TEXT NOT NULL,
    to_number TEXT NOT NULL,
    ts TEXT NOT NULL,
    text TEXT NULL
  )`;

/** The header of a file, which a dump that is loaded again lacks. */
const WRITE_HEADER = `PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${SCHEMA_VERSION}`;

/**
 * Brings an empty file, one whose table `messages` can be used, or one whose own tables are of an earlier version (`version`; 0: it has
 * none) to this version; it may be cut off at any moment and run again. Takes in what another program has done to the rows since.
 *
 * `instant` is what messages are ordered by (`instantOf`), or the `ts` itself where that is no instant. `received_at` is
 * the server's time in milliseconds since 1970, NULL in rows older than the column. All that is derived from messages, such
 * as counts by sender, is kept in a file beside this one (`indexing/schema.ts`), so that storing a message changes as few pages as it can;
 * but for `inbox.messages`, how many there are, by which pages without a filter do not need that file. It is NULL where another program
 * has added rows: then the next start counts. This service never changes a row; `edits` tells that another program has changed or deleted
 * some. Which messages are hidden until their rows are gone, `hidden.ts` says, and `remembered.ts` what is known of those that are gone;
 * `erasures` has when messages were erased, how many, and which request it was.
 * `generations` has a row for each start: its random name, and the newest sequence of before it (`generations.ts`).
 */
export function bringUpToDate(database: DatabaseSync, version: number, notice: Notice): void {
  defineSortKey(database);
  const isComplete = version >= SCHEMA_VERSION - 1 && unlikeDefined(database, version).length === 0;
  if (!isComplete) upgrade(database, version, notice);
  else if (version < SCHEMA_VERSION) addRemoval(database);
  if (isComplete) takeInForeignRows(database, notice);
  completeSequence(database);
}

/** A row of `inbox` where nothing has vanished yet. `messages` and `edits`: SQL. */
function insertInbox(messages: string, edits: string): string {
  const key = `x'${randomBytes(ID_KEY_BYTES).toString('hex')}'`;
  return `INSERT OR IGNORE INTO inbox SELECT 1, ${messages}, ${edits}, 0, ${key}, 0, ${BEFORE_ALL_IDS}, ${BEFORE_ALL_IDS}, 0,
    ${BEFORE_ALL_IDS}, 0`;
}

/** What version 4 has and version 3 has not, without a look at any message. */
function addRemoval(database: DatabaseSync): void {
  const { inbox = '', hidden = '', remembered = '', erasures = '' } = CREATE_TABLES;
  database.exec(`
    BEGIN IMMEDIATE;
    CREATE TEMP TABLE earlier_inbox AS SELECT messages, edits FROM main.inbox;
    DROP TRIGGER count_deletions;
    DROP TABLE inbox;
    ${[inbox, hidden, remembered, erasures, CREATE_TRIGGERS['count_deletions']].join(';')};
    ${insertInbox('messages', 'edits')} FROM earlier_inbox;
    DROP TABLE earlier_inbox;
    PRAGMA user_version = ${SCHEMA_VERSION};
    COMMIT;
  `);
}

function upgrade(database: DatabaseSync, version: number, notice: Notice): void {
  database.exec(CREATE_MESSAGES);
  const columns = database.prepare("SELECT name FROM pragma_table_info('messages')").all().map((row) => row['name']);
  if (!columns.includes('instant')) database.exec('ALTER TABLE messages ADD COLUMN instant TEXT');
  if (!columns.includes('received_at')) database.exec('ALTER TABLE messages ADD COLUMN received_at INTEGER');
  // Those of another version or of a part of a dump would act on tables that are not there.
  database.exec(Object.keys(CREATE_TRIGGERS).map((name) => `DROP TRIGGER IF EXISTS ${name}`).join(';'));
  fillAllInstants(database, notice);
  const unlike = unlikeDefined(database);
  const make = (objects: Readonly<Record<string, string>>) => Object.entries(objects).filter(([name]) => unlike.includes(name))
    .map(([name, sql]) => `DROP ${/TABLE|INDEX|TRIGGER/.exec(sql)?.[0]} IF EXISTS ${name}; ${sql};`).join('');
  const { generations = '', ...others } = CREATE_TABLES;
  database.exec(`
    BEGIN IMMEDIATE;
    ${make({ generations })}
    ${DROP_EARLIER[version] ?? ''}
    ${make({ ...others, ...CREATE_INDEX, ...CREATE_TRIGGERS })}
    ${version === SCHEMA_VERSION && unlike.includes('inbox') ? FORGET_ALL : ''}
    ${insertInbox('0', '0')};
    UPDATE inbox SET messages = ${countVisible()}, edits = edits + 1;
    ${WRITE_HEADER};
    COMMIT;
  `);
}

/** Where it is lost how often rows were edited, an index may be of others; and without their key hashes say nothing. */
const FORGET_ALL = 'DELETE FROM generations; DELETE FROM remembered;';

/** By version: what it kept in this file, and this one keeps elsewhere or otherwise. Positions that were handed out stay good. */
const DROP_EARLIER: Readonly<Record<number, string>> = {
  1: `
    DROP INDEX IF EXISTS messages_by_sender;
    DROP TABLE IF EXISTS senders;`,
  2: `INSERT INTO generations(generation, begins_after) SELECT generation, ${BEFORE_ALL_IDS} FROM inbox;`,
};

/**
 * What another program has done to the rows since, such as after a roll-back to the reference program, or a dump that was loaded into a
 * file that was made for it: none is in the count then, and all have their instants.
 */
function takeInForeignRows(database: DatabaseSync, notice: Notice): void {
  fillMissingInstants(database, notice);
  const header = database.prepare('SELECT application_id, user_version FROM pragma_application_id, pragma_user_version').get();
  const isMarked = header?.['application_id'] === APPLICATION_ID && header['user_version'] === SCHEMA_VERSION;
  // A dump may have been loaded in part, and has the count of the whole.
  database.exec(`
    ${insertInbox('NULL', '0')};
    UPDATE inbox SET messages = ${countVisible()}, edits = edits + 1
    WHERE messages IS NULL OR (messages = 0 AND EXISTS (SELECT 1 FROM messages)) OR ${isMarked ? 'false' : 'true'};
    ${isMarked ? '' : WRITE_HEADER}`);
}

/** The highest id that was given out (https://sqlite.org/autoinc.html) is never below one that is in use. */
function completeSequence(database: DatabaseSync): void {
  database.exec(`
    UPDATE sqlite_sequence SET seq = (SELECT max(id) FROM messages)
      WHERE name = 'messages' AND seq < (SELECT max(id) FROM messages);
    INSERT INTO sqlite_sequence SELECT 'messages', (SELECT max(id) FROM messages)
      WHERE (SELECT max(id) FROM messages) IS NOT NULL AND NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'messages')`);
}

/** Gives every row its `instant`, some ten thousand in a transaction, in their order in the file. */
function fillAllInstants(database: DatabaseSync, notice: Notice): void {
  const total = countOf(database, 'SELECT count(*) AS rows FROM messages');
  const stepEnd = database.prepare('SELECT max(id) AS id FROM (SELECT id FROM messages WHERE id > ? ORDER BY id LIMIT ?)');
  // A row id may be larger than a JavaScript number is exact.
  stepEnd.setReadBigInts(true);
  const makeTexts = database.prepare(`${MAKE_TEXTS} AND id > ? AND id <= ?`);
  const fill = database.prepare(`
    UPDATE messages SET instant = sort_key(ts) WHERE id > ? AND id <= ? AND (instant IS NULL OR instant <> sort_key(ts))`);
  for (const statement of [makeTexts, fill]) acceptAnyRowId(statement);

  let after = BEFORE_ALL_IDS;
  for (let rows = FILL_STEP_ROWS; ; rows += FILL_STEP_ROWS) {
    const end = stepEnd.get(after, FILL_STEP_ROWS)?.['id'];
    if (typeof end !== 'bigint') break;
    makeTexts.run(after, end);
    fill.run(after, end);
    // Or else the log would grow to the size of the table, and nobody may write meanwhile anyway.
    database.exec('PRAGMA wal_checkpoint(TRUNCATE)');
    after = end;
    notice('upgrading', { rows_done: Math.min(rows, total), rows: total });
  }
}

/** The same for rows that lack it, where an index leads to them. */
function fillMissingInstants(database: DatabaseSync, notice: Notice): void {
  const total = countOf(database, 'SELECT count(*) AS rows FROM messages WHERE instant IS NULL');
  const missing = `id IN (SELECT id FROM messages INDEXED BY messages_by_instant WHERE instant IS NULL LIMIT ${FILL_STEP_ROWS})`;
  const makeTexts = database.prepare(`${MAKE_TEXTS} AND ${missing}`);
  const fill = database.prepare(`UPDATE messages SET instant = sort_key(ts) WHERE ${missing}`);
  for (const statement of [makeTexts, fill]) acceptAnyRowId(statement);
  for (let rows = 0; rows < total; rows += FILL_STEP_ROWS) {
    makeTexts.run();
    fill.run();
    notice('upgrading', { rows_done: Math.min(rows + FILL_STEP_ROWS, total), rows: total });
  }
}

/** Defines in a connection the function that makes an `instant` of a `ts`. */
export function defineSortKey(database: DatabaseSync): void {
  database.function('sort_key', { deterministic: true }, (ts) => instantOf(String(ts)) ?? String(ts));
}

function countOf(database: DatabaseSync, sql: string): number {
  return Number(database.prepare(sql).get()?.['rows']);
}
