/**
 * The read index: a database beside the messages, in which all that can be derived from them is kept for reading. It holds
 * nothing that they do not say, so it is written behind them, without a sync of its own, and may be deleted at any time: it is made anew
 * while the service goes on. (Where it is missing at a start, that could be a restore: then positions of before are refused.)
 */
import { DatabaseSync } from 'node:sqlite';
import { AS_BY_DEFAULT, BUSY_TIMEOUT_MS, readOnlyUri } from '../connection-options.ts';
import { BEFORE_ALL_IDS } from '../row-ids.ts';
import { CREATE_TEXT_INDEX, type TextSource } from './text-index/text-index.ts';

/** The `user_version` of an index that this version can read. Another one is made anew. */
export const INDEX_VERSION = 6;
/** Messages at which the last partition is split, and others: those begin with nearly as many as the last one had, and rest then. */
export const LAST_PARTITION_MESSAGES = 32_768;
export const PARTITION_MESSAGES = 65_536;
/** Pages in memory: the partition and the counts that change now. */
const CACHE_KIB = 8 * 1024;

export const indexPathOf = (path: string) => `${path}-index`;

/** SQL: the name of this start (`generations.ts`). */
const CURRENT_GENERATION = '(SELECT generation FROM inbox_file.generations ORDER BY number DESC LIMIT 1)';

/** SQL: notes that all that is in the index is of the messages as they are in this generation. */
export const NOTE_GENERATION = `UPDATE progress SET generation = ${CURRENT_GENERATION}`;

/**
 * - `progress`, one row: whose index this is (`generations`, `inbox.edits`), the last message that is in it, and how many messages and
 *   senders that makes. Of the hidden ones (`file/hidden.ts`), how many are not or no longer in it (`taken_out`): the expired ones up to an
 *   id, the erased ones up to a number.
 * - `senders`, `top_senders`: messages of each sender, and of those that come first by messages, then by number, up to the place of
 *   `last_top_messages` and `last_top_number`; some hundred, so that the ten are known while their messages vanish.
 * - `arrivals`: messages by the minute in which they were received, since 1970.
 * - `partitions`: ranges of the order of messages, numbered in it, each from its first place to before the next one's, with how many
 *   messages lie within. One of `split_at` messages is split.
 * - `by_sender`: the order of messages within a sender, partition by partition: new messages change a few hundred pages of the newest
 *   partition, not any of hundreds of thousands.
 * - The tables of the text index (`text-index/text-index.ts`).
 */
const SCHEMA = `
  CREATE TABLE progress(
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1), generation TEXT NOT NULL, edits INTEGER NOT NULL,
    indexed_through INTEGER NOT NULL, messages INTEGER NOT NULL, senders INTEGER NOT NULL,
    taken_out INTEGER NOT NULL, expired_out_through INTEGER NOT NULL, erased_out_through INTEGER NOT NULL,
    last_top_messages INTEGER NOT NULL, last_top_number TEXT NOT NULL
  );
  CREATE TABLE senders(from_number TEXT PRIMARY KEY NOT NULL, messages INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE top_senders(from_number TEXT PRIMARY KEY NOT NULL, messages INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE arrivals(minute INTEGER PRIMARY KEY, messages INTEGER NOT NULL);
  CREATE TABLE partitions(
    partition INTEGER PRIMARY KEY, first_instant TEXT NOT NULL, first_message_id TEXT NOT NULL, messages INTEGER NOT NULL,
    split_at INTEGER NOT NULL, UNIQUE (first_instant, first_message_id)
  );
  INSERT INTO partitions VALUES (0, '', '', 0, ${LAST_PARTITION_MESSAGES});
  CREATE TABLE by_sender(
    partition INTEGER, from_number TEXT, instant TEXT, message_id TEXT, id INTEGER NOT NULL,
    PRIMARY KEY (partition, from_number, instant, message_id)
  ) WITHOUT ROWID;
  ${CREATE_TEXT_INDEX}
  PRAGMA user_version = ${INDEX_VERSION};`;

/** What the text index is of. No row comes below the newest one that is in the index; erased ones are taken out once, before they go. */
export const TEXTS: TextSource = {
  table: 'inbox_file.messages', completeThrough: '(SELECT indexed_through FROM progress)',
  isGone: 'id IN (SELECT id FROM inbox_file.hidden)',
};

/** With so many messages that are not in the index, reads, which look at each of those, would take longer than anyone waits. */
export const MOST_UNINDEXED = 100_000;

/** The partition that a place in the order lies in; `place` is SQL, an instant and an id. */
export const partitionOf = (place: string) => `(
  SELECT partition FROM partitions WHERE (first_instant, first_message_id) <= (${place})
  ORDER BY first_instant DESC, first_message_id DESC LIMIT 1)`;

/**
 * Opens the index for writing, with the messages attached for reading as `inbox_file`; makes it where there is none. Throws
 * SQLite's errors.
 */
export function openIndexForWriting(path: string): DatabaseSync {
  const database = new DatabaseSync(indexPathOf(path), { ...AS_BY_DEFAULT, timeout: BUSY_TIMEOUT_MS });
  try {
    database.exec(`
      PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0;
      PRAGMA cache_size = -${CACHE_KIB}; PRAGMA temp_store = MEMORY; PRAGMA secure_delete = ON`);
    database.prepare('ATTACH ? AS inbox_file').run(readOnlyUri(path));
    if (database.prepare('SELECT 1 FROM sqlite_schema').get() === undefined) database.exec(CREATE);
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

const CREATE = `
  BEGIN;
  ${SCHEMA}
  INSERT INTO progress
    SELECT 1, ${CURRENT_GENERATION}, edits, ${BEFORE_ALL_IDS}, 0, 0, vanished, expired_through, vanished, 0, '' FROM inbox_file.inbox;
  COMMIT`;
