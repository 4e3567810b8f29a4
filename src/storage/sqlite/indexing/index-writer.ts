import type { DatabaseSync } from 'node:sqlite';
import { MS_PER_MINUTE } from '../../query.ts';
import { IN_ANY_WAY, isVisible } from '../file/hidden.ts';
import type { TakenOut } from '../file/removal.ts';
import { inTransaction } from '../file/transaction.ts';
import { acceptAnyRowId } from '../row-ids.ts';
import { LAST_PARTITION_MESSAGES, PARTITION_MESSAGES, partitionOf, TEXTS } from './schema.ts';
import { createTakeOut } from './take-out.ts';
import { createForgetNext, createIndexNextPart } from './text-index/text-index.ts';
import { createRankSenders } from './top-senders.ts';

/** Most messages that are taken into the index in one transaction. */
export const CHUNK_MESSAGES = 16_384;
/** Of the last partition, those at its end, which go into a new one when it is split: that takes what comes next in the order of time. */
const MOVED_MESSAGES = 4096;
/** Between the numbers of two partitions, so that one can come between them, again and again. */
const NUMBERS_APART = 2 ** 32;

export interface IndexWriter {
  /** Takes in the next messages, in one transaction, and returns how many were looked at; 0 where all are in. Throws SQLite's errors. */
  takeIn(): number;
  /** Takes out the next hidden messages, in one transaction; false where none is in the index. Throws SQLite's errors. */
  takeOut(): boolean;
  /** Up to where hidden messages are not in the index. */
  takenOut(): TakenOut;
  /** Makes the texts of the next part searchable, in one transaction; false where it is not full. Throws SQLite's errors. */
  indexNextPart(): boolean;
  /** Gives up the next part of the text index that no row is left of, in one transaction; false without one. Throws SQLite's errors. */
  forgetTexts(): boolean;
  /** How many messages are in the index, and how many hidden ones are not. */
  accountedFor(): number;
}

export function createIndexWriter(database: DatabaseSync): IndexWriter {
  const nextChunk = createNextChunk(database);
  const steps = [countSenders, createRankSenders, countArrivals, orderBySender].map((prepare) => prepare(database));
  const takeOut = createTakeOut(database);
  const splitPartitions = createSplitPartitions(database);
  const indexNextPart = createIndexNextPart(database, TEXTS);
  const forgetNext = createForgetNext(database, TEXTS);
  const progress = database.prepare('SELECT messages + taken_out AS messages FROM progress');

  return {
    takeIn: () => inTransaction(database, () => {
      const messages = nextChunk();
      if (messages > 0) for (const step of steps) step();
      if (messages > 0) splitPartitions();
      return messages;
    }),
    indexNextPart: () => inTransaction(database, indexNextPart),
    takeOut: () => inTransaction(database, takeOut.next),
    forgetTexts: () => inTransaction(database, forgetNext),
    takenOut: takeOut.takenOut,
    accountedFor: () => Number(progress.get()?.['messages']),
  };
}

type Step = () => void;

/** Selects the chunk that every step works on, and notes it as done in the same transaction. */
function createNextChunk(database: DatabaseSync): () => number {
  database.exec(`
    CREATE TEMP TABLE chunk(
      id INTEGER PRIMARY KEY, message_id TEXT, from_number TEXT, instant TEXT, received_at INTEGER, partition INTEGER
    );
    CREATE TEMP TABLE chunk_senders(from_number TEXT PRIMARY KEY, messages INTEGER) WITHOUT ROWID`);
  const select = database.prepare(`
    INSERT INTO chunk SELECT id, message_id, from_number, instant, received_at, ${partitionOf('instant, message_id')}
    FROM inbox_file.messages WHERE id > (SELECT indexed_through FROM progress) ORDER BY id LIMIT ${CHUNK_MESSAGES}`);
  const through = database.prepare('UPDATE progress SET indexed_through = (SELECT max(id) FROM chunk)');
  // Of those that are hidden, the ones that count as taken out already.
  const leaveOut = database.prepare(`
    DELETE FROM chunk WHERE NOT (${isVisible('chunk.id', IN_ANY_WAY, 'inbox_file')}) AND (
      id IN (SELECT id FROM inbox_file.hidden WHERE number <= (SELECT erased_out_through FROM progress))
      OR (id <= (SELECT expired_out_through FROM progress) AND id NOT IN (SELECT id FROM inbox_file.hidden)))`);
  const count = database.prepare('UPDATE progress SET messages = messages + (SELECT count(*) FROM chunk)');
  for (const statement of [select, through, leaveOut, count]) acceptAnyRowId(statement);
  return () => {
    database.exec('DELETE FROM chunk');
    const messages = Number(select.run().changes);
    if (messages === 0) return 0;
    for (const statement of [through, leaveOut, count]) statement.run();
    return messages;
  };
}

function countSenders(database: DatabaseSync): Step {
  const sql = `
    DELETE FROM chunk_senders;
    INSERT INTO chunk_senders SELECT from_number, count(*) FROM chunk GROUP BY from_number;
    INSERT INTO senders SELECT from_number, messages FROM chunk_senders WHERE true
      ON CONFLICT(from_number) DO UPDATE SET messages = messages + excluded.messages;
    UPDATE progress SET senders = senders + (SELECT count(*) FROM chunk_senders JOIN senders USING (from_number, messages))`;
  return () => database.exec(sql);
}

/** Messages of before an upgrade have no time of arrival. */
function countArrivals(database: DatabaseSync): Step {
  const sql = `
    INSERT INTO arrivals SELECT received_at / ${MS_PER_MINUTE} AS received_in, count(*) FROM chunk
      WHERE received_at IS NOT NULL GROUP BY received_in
      ON CONFLICT(minute) DO UPDATE SET messages = messages + excluded.messages`;
  return () => database.exec(sql);
}

function orderBySender(database: DatabaseSync): Step {
  const sql = `
    INSERT INTO by_sender SELECT partition, from_number, instant, message_id, id FROM chunk
      ORDER BY partition, from_number, instant, message_id;
    UPDATE partitions SET messages = partitions.messages + arrived.messages
      FROM (SELECT partition AS number, count(*) AS messages FROM chunk GROUP BY partition) AS arrived
      WHERE partition = arrived.number`;
  return () => database.exec(sql);
}

/** Splits partitions that have grown: the last one near its end, as most messages come in the order of time, and others in the middle. */
function createSplitPartitions(database: DatabaseSync): Step {
  const grown = database.prepare(`
    SELECT partition, messages, (SELECT min(partition) FROM partitions AS later WHERE later.partition > partitions.partition) AS next
    FROM partitions WHERE messages >= split_at`);
  const boundary = database.prepare(`
    SELECT instant, message_id FROM by_sender WHERE partition = ? ORDER BY instant DESC, message_id DESC LIMIT 1 OFFSET ?`);
  const move = database.prepare('UPDATE by_sender SET partition = ? WHERE partition = ? AND (instant, message_id) >= (?, ?)');
  const begin = database.prepare('INSERT INTO partitions VALUES (?, ?, ?, ?, ?)');
  const shrink = database.prepare(`UPDATE partitions SET messages = messages - ?, split_at = ${PARTITION_MESSAGES} WHERE partition = ?`);
  const letGrow = database.prepare('UPDATE partitions SET split_at = 2 * messages WHERE partition = ?');
  for (const statement of [move, begin, shrink, letGrow]) acceptAnyRowId(statement);
  return () => {
    for (const { partition, messages, next } of grown.all()) {
      if (typeof partition !== 'number') continue;
      const isLast = typeof next !== 'number';
      const number = isLast ? partition + NUMBERS_APART : Math.floor((partition + next) / 2);
      const { instant, message_id } = boundary.get(partition, isLast ? MOVED_MESSAGES : Math.floor(Number(messages) / 2)) ?? {};
      if (typeof instant === 'string' && typeof message_id === 'string' && number > partition) {
        const { changes } = move.run(number, partition, instant, message_id);
        begin.run(number, instant, message_id, changes, isLast ? LAST_PARTITION_MESSAGES : PARTITION_MESSAGES);
        shrink.run(changes, partition);
      } else {
        // No number left between: not to be looked at each time again.
        letGrow.run(partition);
      }
    }
  };
}
