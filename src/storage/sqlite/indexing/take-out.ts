/** Takes hidden messages (`file/hidden.ts`) out of the index, while their rows still say where in it they are. */
import type { DatabaseSync } from 'node:sqlite';
import { MS_PER_MINUTE } from '../../query.ts';
import { isExpiredRow } from '../file/hidden.ts';
import type { TakenOut } from '../file/removal.ts';
import { prepareWithAnyRowId } from '../row-ids.ts';
import { partitionOf, TEXTS } from './schema.ts';
import { createCountPostings, createTakeOutTexts } from './text-index/text-index.ts';
import { createRankSenders } from './top-senders.ts';

/** Most messages that are taken out in one transaction, of either kind. */
const CHUNK_MESSAGES = 4096;
/** Of the text index, for those that were erased: so many are written anew in some 0.3 s. More only where one message has more. */
const CHUNK_POSTINGS = 30_000;

export interface TakeOut {
  /** Takes out the next ones, inside the caller's transaction; false where there are none. */
  next(): boolean;
  /** Up to where they are out. */
  takenOut(): TakenOut;
}

/** Works on the temporary tables of what takes messages in (`index-writer.ts`). Every function throws SQLite's errors. */
export function createTakeOut(database: DatabaseSync): TakeOut {
  const nextChunk = createNextChunk(database);
  const rankSenders = createRankSenders(database);
  const moveBoundaries = createMoveBoundaries(database);
  // Those that expire go with their whole segment, one soon after the other.
  const takeOutTexts = createTakeOutTexts(database, TEXTS, 'SELECT id FROM chunk WHERE id IN (SELECT id FROM inbox_file.hidden)');
  const readTakenOut = prepareWithAnyRowId(database, `
    SELECT max(expired_out_through, expired_after) AS expired, erased_out_through AS erased FROM progress, inbox_file.inbox`);

  function takenOut(): TakenOut {
    const { expired, erased } = readTakenOut.get() ?? {};
    if (typeof expired !== 'bigint' || typeof erased !== 'bigint') throw new Error('the read index has no progress');
    return { expiredThrough: expired, erasedThrough: erased };
  }
  return {
    next() {
      if (!nextChunk(takenOut())) return false;
      database.exec(COUNT_SENDERS);
      rankSenders();
      database.exec(REMOVE);
      moveBoundaries();
      takeOutTexts();
      database.exec('DELETE FROM chunk');
      return true;
    },
    takenOut,
  };
}

/** Makes the next hidden messages that are in the index the chunk, and notes them as taken out. */
function createNextChunk(database: DatabaseSync): (after: TakenOut) => boolean {
  const endOfExpired = prepareWithAnyRowId(database, `
    SELECT ifnull(max(id), (SELECT expired_through FROM inbox_file.inbox)) AS id FROM (
      SELECT id FROM inbox_file.messages
      WHERE id > ? AND id <= (SELECT expired_through FROM inbox_file.inbox) ORDER BY id LIMIT ${CHUNK_MESSAGES})`);
  const endOfErased = createEndOfErased(database);
  const expired = `${isExpiredRow('inbox_file', '?1')} AND messages.id <= ?2`;
  const erased = 'number > ?1 AND number <= ?2';
  const place = `messages.id, message_id, from_number, instant, received_at, ${partitionOf('instant, message_id')}`;
  const isIndexed = 'messages.id <= (SELECT indexed_through FROM progress)';
  const stepsOfExpired = [
    `UPDATE progress SET taken_out = taken_out + (SELECT count(*) FROM inbox_file.messages WHERE ${expired}), expired_out_through = ?2`,
    `INSERT INTO chunk SELECT ${place} FROM inbox_file.messages WHERE ${expired} AND ${isIndexed}`,
  ].map((sql) => prepareWithAnyRowId(database, sql));
  const stepsOfErased = [
    `UPDATE progress SET taken_out = taken_out + (SELECT count(*) FROM inbox_file.hidden WHERE ${erased}), erased_out_through = ?2`,
    `INSERT INTO chunk SELECT ${place} FROM inbox_file.hidden CROSS JOIN inbox_file.messages USING (id) WHERE ${erased} AND ${isIndexed}`,
  ].map((sql) => prepareWithAnyRowId(database, sql));

  return ({ expiredThrough, erasedThrough }) => {
    database.exec('DELETE FROM chunk');
    const { id } = endOfExpired.get(expiredThrough) ?? {};
    const number = endOfErased(erasedThrough);
    const areExpired = typeof id === 'bigint' && id > expiredThrough;
    if (areExpired) for (const statement of stepsOfExpired) statement.run(expiredThrough, id);
    if (number !== undefined) for (const statement of stepsOfErased) statement.run(erasedThrough, number);
    return areExpired || number !== undefined;
  };
}

/** Returns the number of the last of the next erased messages; undefined where there are none. */
function createEndOfErased(database: DatabaseSync): (after: bigint) => bigint | undefined {
  // A row that another program has deleted has no text any more.
  const next = prepareWithAnyRowId(database, `
    SELECT number, hidden.id, ifnull(length(text), 0) AS characters FROM inbox_file.hidden LEFT JOIN inbox_file.messages USING (id)
    WHERE number > ? ORDER BY number LIMIT ${CHUNK_MESSAGES}`);
  return (after) => {
    const countPostings = createCountPostings();
    let end: bigint | undefined;
    for (const { number, id, characters } of next.iterate(after)) {
      if (typeof number !== 'bigint' || typeof id !== 'bigint') continue;
      if (countPostings(id, Number(characters)) > CHUNK_POSTINGS && end !== undefined) break;
      end = number;
    }
    return end;
  };
}

const COUNT_SENDERS = `
  DELETE FROM chunk_senders;
  INSERT INTO chunk_senders SELECT from_number, count(*) FROM chunk GROUP BY from_number;
  UPDATE senders SET messages = senders.messages - chunk_senders.messages FROM chunk_senders
    WHERE senders.from_number = chunk_senders.from_number;
  UPDATE progress SET messages = messages - (SELECT count(*) FROM chunk), senders = senders - (
    SELECT count(*) FROM chunk_senders CROSS JOIN senders USING (from_number) WHERE senders.messages = 0);
  DELETE FROM senders WHERE messages = 0 AND from_number IN (SELECT from_number FROM chunk_senders)`;

const REMOVE = `
  UPDATE arrivals SET messages = arrivals.messages - gone.messages
    FROM (SELECT received_at / ${MS_PER_MINUTE} AS received_in, count(*) AS messages FROM chunk GROUP BY received_in) AS gone
    WHERE minute = received_in;
  DELETE FROM arrivals WHERE messages = 0 AND minute IN (SELECT received_at / ${MS_PER_MINUTE} FROM chunk);
  DELETE FROM by_sender WHERE (partition, from_number, instant, message_id) IN (
    SELECT partition, from_number, instant, message_id FROM chunk);
  UPDATE partitions SET messages = partitions.messages - gone.messages
    FROM (SELECT partition AS number, count(*) AS messages FROM chunk GROUP BY partition) AS gone
    WHERE partition = gone.number`;

/** An empty partition goes, and one whose first place was that of a message in the chunk begins at another: a place is made of an id. */
function createMoveBoundaries(database: DatabaseSync): () => void {
  const empty = database.prepare(`
    SELECT partition FROM partitions WHERE messages = 0 AND partition IN (SELECT partition FROM chunk) ORDER BY partition DESC`);
  const before = database.prepare('SELECT 1 FROM partitions WHERE partition < ? LIMIT 1');
  const after = database.prepare('SELECT min(partition) AS next FROM partitions WHERE partition > ?');
  const remove = database.prepare('DELETE FROM partitions WHERE partition = ?');
  const begin = database.prepare('UPDATE partitions SET first_instant = ?, first_message_id = ? WHERE partition = ?');
  const atGone = database.prepare(`
    SELECT partitions.partition FROM chunk JOIN partitions ON first_instant = chunk.instant AND first_message_id = chunk.message_id`);
  const first = database.prepare('SELECT instant, message_id FROM by_sender WHERE partition = ? ORDER BY instant, message_id LIMIT 1');

  function removeEmpty(partition: number): void {
    const next = after.get(partition)?.['next'];
    const isFirst = before.get(partition) === undefined;
    // One has to be there for all that comes.
    if (isFirst && typeof next !== 'number') return;
    remove.run(partition);
    if (isFirst && typeof next === 'number') begin.run('', '', next);
  }
  return () => {
    for (const { partition } of empty.all()) if (typeof partition === 'number') removeEmpty(partition);
    for (const { partition } of atGone.all()) {
      if (typeof partition !== 'number') continue;
      const { instant, message_id } = first.get(partition) ?? {};
      if (typeof instant === 'string' && typeof message_id === 'string') begin.run(instant, message_id, partition);
    }
  };
}
