/**
 * The read index: a database beside the messages, in which all that can be derived from them is kept for reading. It holds
 * nothing that they do not say, so it is written behind them, without a sync of its own, and may be deleted at any time: it is made anew
 * while the service goes on. (Where it is missing at a start, that could be a restore: then positions of before are refused.)
 */
import { DatabaseSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import { AS_BY_DEFAULT, BEFORE_ALL_IDS, BUSY_TIMEOUT_MS } from './schema.ts';

/** The `user_version` of an index that this version can read. Another one is made anew. */
export const INDEX_VERSION = 3;
/** Messages at which the last partition is split, and others: those begin with nearly as many as the last one had, and rest then. */
export const LAST_PARTITION_MESSAGES = 32_768;
export const PARTITION_MESSAGES = 65_536;
/** Pages in memory: the partition and the counts that change now. */
const CACHE_KIB = 8 * 1024;

export const indexPathOf = (path: string) => `${path}-index`;

/** For ATTACH: a URI (https://sqlite.org/uri.html), as only that can say that the file is for reading. */
export const readOnlyUri = (path: string) => `${pathToFileURL(path).href}?mode=ro`;

/** SQL: the name of this start (`generations.ts`). */
const CURRENT_GENERATION = '(SELECT generation FROM inbox_file.generations ORDER BY number DESC LIMIT 1)';

/** SQL: notes that all that is in the index is of the messages as they are in this generation. */
export const NOTE_GENERATION = `UPDATE progress SET generation = ${CURRENT_GENERATION}`;

/**
 * - `progress`, one row: whose index this is (`generations`, `inbox.edits`), the last message that is in it, and how many messages and
 *   senders that makes. Messages below the id `searchable_below` are in `pieces` or `trigrams` too.
 * - `senders`, `top_senders`: messages of each sender, and of the ten with the most. Counts never shrink, so only a sender
 *   with a new message can enter the ten.
 * - `arrivals`: messages by the minute in which they were received, since 1970.
 * - `partitions`: ranges of the order of messages, numbered in it, each from its first place to before the next one's, with how many
 *   messages lie within. One of `split_at` messages is split.
 * - `by_sender`: the order of messages within a sender, partition by partition: new messages change a few hundred pages of the newest
 *   partition, not any of hundreds of thousands.
 * - `pieces`, `trigrams`: which messages hold three characters in a row (`trigrams.ts`): the newest in `parts` of some thousand, in
 *   pieces of many trigrams, which are quickly written; those of each whole segment by trigram, which are quickly read.
 */
const SCHEMA = `
  CREATE TABLE progress(
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1), generation TEXT NOT NULL, edits INTEGER NOT NULL,
    indexed_through INTEGER NOT NULL, messages INTEGER NOT NULL, senders INTEGER NOT NULL, searchable_below INTEGER NOT NULL
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
  CREATE TABLE parts(part INTEGER PRIMARY KEY);
  CREATE TABLE pieces(part INTEGER, piece INTEGER, places BLOB NOT NULL, PRIMARY KEY (part, piece)) WITHOUT ROWID;
  CREATE TABLE segments(segment INTEGER PRIMARY KEY);
  CREATE TABLE trigrams(segment INTEGER, trigram INTEGER, places BLOB NOT NULL, PRIMARY KEY (segment, trigram)) WITHOUT ROWID;
  PRAGMA user_version = ${INDEX_VERSION};`;

export const TOP_SENDERS = 10;
export const MS_PER_MINUTE = 60_000;

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
      PRAGMA cache_size = -${CACHE_KIB}; PRAGMA temp_store = MEMORY`);
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
  INSERT INTO progress SELECT 1, ${CURRENT_GENERATION}, edits, ${BEFORE_ALL_IDS}, 0, 0, ${BEFORE_ALL_IDS} FROM inbox_file.inbox;
  COMMIT`;
