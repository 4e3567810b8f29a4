/**
 * The read index: a database beside the messages, in which all that can be derived from them is kept for reading. It holds
 * nothing that they do not say, so it is written behind them, without a sync of its own, and may be deleted while the service is
 * stopped: the next start makes it anew, and refuses positions of before.
 */
import { DatabaseSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import { BEFORE_ALL_IDS, BUSY_TIMEOUT_MS } from './schema.ts';

/** The `user_version` of an index that this version can read. Another one is made anew. */
export const INDEX_VERSION = 2;
/** Messages at which a partition is split, to begin with. */
export const PARTITION_MESSAGES = 32_768;
/** Pages in memory: the partition and the counts that change now. */
const CACHE_KIB = 8 * 1024;

export const indexPathOf = (path: string) => `${path}-index`;

/** For ATTACH: a URI (https://sqlite.org/uri.html), as only that can say that the file is for reading. */
export const readOnlyUri = (path: string) => `${pathToFileURL(path).href}?mode=ro`;

/**
 * - `progress`, one row: whose index this is (`inbox.generation`, `edits`), the last message that is in it, and how many messages and
 *   senders that makes. Messages below the id `searchable_below` are in `pieces` or `trigrams` too.
 * - `senders`, `top_senders`: messages of each sender, and of the ten with the most. Counts never shrink, so only a sender
 *   with a new message can enter the ten.
 * - `instant_counts`: messages by day, hour and minute, which are the first 10, 13 and 16 characters of an instant.
 * - `arrivals`: messages by the minute in which they were received, since 1970.
 * - `by_sender`: the order of messages within a sender, in `partitions` of time, numbered in its order, each from its first instant
 *   to before the next one's: new messages change a few hundred pages of the newest partition, not any of hundreds of thousands.
 *   One of `split_at` messages is split.
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
  CREATE TABLE instant_counts(length INTEGER, prefix TEXT, messages INTEGER NOT NULL, PRIMARY KEY (length, prefix)) WITHOUT ROWID;
  CREATE TABLE arrivals(minute INTEGER PRIMARY KEY, messages INTEGER NOT NULL);
  CREATE TABLE partitions(
    partition INTEGER PRIMARY KEY, first_instant TEXT UNIQUE NOT NULL, messages INTEGER NOT NULL, split_at INTEGER NOT NULL
  );
  INSERT INTO partitions VALUES (0, '', 0, ${PARTITION_MESSAGES});
  CREATE TABLE by_sender(
    partition INTEGER, from_number TEXT, instant TEXT, message_id TEXT, id INTEGER NOT NULL,
    PRIMARY KEY (partition, from_number, instant, message_id)
  ) WITHOUT ROWID;
  CREATE TABLE parts(part INTEGER PRIMARY KEY);
  CREATE TABLE pieces(part INTEGER, piece INTEGER, places BLOB NOT NULL, PRIMARY KEY (part, piece)) WITHOUT ROWID;
  CREATE TABLE segments(segment INTEGER PRIMARY KEY);
  CREATE TABLE trigrams(segment INTEGER, trigram INTEGER, places BLOB NOT NULL, PRIMARY KEY (segment, trigram)) WITHOUT ROWID;
  PRAGMA user_version = ${INDEX_VERSION};`;

/** Of an instant: its day, hour and minute. */
export const PREFIX_LENGTHS = [10, 13, 16];
export const TOP_SENDERS = 10;
export const MS_PER_MINUTE = 60_000;

/** The partition that an instant lies in; `instant` is SQL. */
export const partitionOf = (instant: string) =>
  `(SELECT partition FROM partitions WHERE first_instant <= ${instant} ORDER BY first_instant DESC LIMIT 1)`;

/**
 * Opens the index for writing, with the messages attached for reading as `inbox_file`; makes it where there is none. Throws
 * SQLite's errors.
 */
export function openIndexForWriting(path: string): DatabaseSync {
  const database = new DatabaseSync(indexPathOf(path), { timeout: BUSY_TIMEOUT_MS });
  database.exec(`
    PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0;
    PRAGMA cache_size = -${CACHE_KIB}; PRAGMA temp_store = MEMORY`);
  database.prepare('ATTACH ? AS inbox_file').run(readOnlyUri(path));
  if (database.prepare('PRAGMA user_version').get()?.['user_version'] !== INDEX_VERSION) {
    database.exec(`
      BEGIN;
      ${SCHEMA}
      INSERT INTO progress SELECT 1, generation, edits, ${BEFORE_ALL_IDS}, 0, 0, ${BEFORE_ALL_IDS} FROM inbox_file.inbox;
      COMMIT`);
  }
  return database;
}
