import type { DatabaseSync } from 'node:sqlite';
import { acceptAnyRowId } from './append.ts';
import { partitionOf, PREFIX_LENGTHS } from './index-schema.ts';
import { indexPart, mergePieces, PART_BITS, type PieceOfPart, PIECES, type Placed, SEGMENT_BITS } from './trigrams.ts';

/** Most messages that are taken into the index in one transaction. */
export const CHUNK_MESSAGES = 8192;
/** Messages of a partition after which the next one begins. */
const PARTITION_MESSAGES = 32_768;
/** Those at its end go into the next partition, which so begins at a usual time, though some messages may be of a far future. */
const MOVED_MESSAGES = 4096;
const TOP_SENDERS = 10;

export interface IndexWriter {
  /** Takes in the next messages, in one transaction, and returns how many those were; 0 where all are in. Throws SQLite's errors. */
  takeIn(): number;
  /** Makes the next part searchable where it is full, in one transaction; false where none is. Throws SQLite's errors. */
  indexNextPart(): boolean;
  /** How many messages are in the index. */
  messages(): number;
}

export function createIndexWriter(database: DatabaseSync): IndexWriter {
  const nextChunk = createNextChunk(database);
  const steps = [countSenders, countInstants, orderBySender].map((prepare) => prepare(database));
  const rollPartition = createRollPartition(database);
  const indexNextPart = createIndexNextPart(database);
  const progress = database.prepare('SELECT messages FROM progress');

  function inTransaction<Result>(work: () => Result): Result {
    database.exec('BEGIN IMMEDIATE');
    try {
      const result = work();
      database.exec('COMMIT');
      return result;
    } finally {
      if (database.isTransaction) database.exec('ROLLBACK');
    }
  }

  return {
    takeIn: () => inTransaction(() => {
      const messages = nextChunk();
      if (messages > 0) for (const step of steps) step();
      if (messages > 0) rollPartition();
      return messages;
    }),
    indexNextPart: () => inTransaction(indexNextPart),
    messages: () => Number(progress.get()?.['messages']),
  };
}

type Step = () => void;

/** Selects the chunk that every step works on, and notes it as done in the same transaction. */
function createNextChunk(database: DatabaseSync): () => number {
  database.exec(`
    CREATE TEMP TABLE chunk(id INTEGER PRIMARY KEY, message_id TEXT, from_number TEXT, instant TEXT);
    CREATE TEMP TABLE chunk_senders(from_number TEXT PRIMARY KEY, messages INTEGER) WITHOUT ROWID;
    CREATE TEMP TABLE chunk_instants(prefix TEXT PRIMARY KEY, messages INTEGER) WITHOUT ROWID`);
  const select = database.prepare(`
    INSERT INTO chunk SELECT id, message_id, from_number, instant FROM inbox_file.messages
    WHERE id > (SELECT indexed_through FROM progress) ORDER BY id LIMIT ${CHUNK_MESSAGES}`);
  const advance = database.prepare(`
    UPDATE progress SET indexed_through = (SELECT max(id) FROM chunk), messages = messages + (SELECT count(*) FROM chunk)`);
  for (const statement of [select, advance]) acceptAnyRowId(statement);
  return () => {
    database.exec('DELETE FROM chunk');
    const messages = Number(select.run().changes);
    if (messages > 0) advance.run();
    return messages;
  };
}

function countSenders(database: DatabaseSync): Step {
  const sql = `
    DELETE FROM chunk_senders;
    INSERT INTO chunk_senders SELECT from_number, count(*) FROM chunk GROUP BY from_number;
    INSERT INTO senders SELECT from_number, messages FROM chunk_senders WHERE true
      ON CONFLICT(from_number) DO UPDATE SET messages = messages + excluded.messages;
    UPDATE progress SET senders = senders + (SELECT count(*) FROM chunk_senders JOIN senders USING (from_number, messages));
    INSERT OR REPLACE INTO top_senders SELECT from_number, senders.messages FROM chunk_senders JOIN senders USING (from_number)
      ORDER BY senders.messages DESC, from_number LIMIT ${TOP_SENDERS};
    DELETE FROM top_senders WHERE from_number NOT IN (
      SELECT from_number FROM top_senders ORDER BY messages DESC, from_number LIMIT ${TOP_SENDERS})`;
  return () => database.exec(sql);
}

function countInstants(database: DatabaseSync): Step {
  const longest = Math.max(...PREFIX_LENGTHS);
  const sql = `
    DELETE FROM chunk_instants;
    INSERT INTO chunk_instants SELECT substr(instant, 1, ${longest}) AS prefix, count(*) FROM chunk GROUP BY prefix;
    ${PREFIX_LENGTHS.map((length) => `
      INSERT INTO instant_counts SELECT ${length}, substr(prefix, 1, ${length}), sum(messages) FROM chunk_instants GROUP BY 2
        ON CONFLICT(length, prefix) DO UPDATE SET messages = messages + excluded.messages;`).join('')}`;
  return () => database.exec(sql);
}

function orderBySender(database: DatabaseSync): Step {
  const sql = `
    INSERT INTO by_sender SELECT ${partitionOf('instant')} AS partition, from_number, instant, message_id, id FROM chunk
      ORDER BY partition, from_number, instant, message_id;
    UPDATE partitions SET messages = messages + (SELECT count(*) FROM chunk WHERE instant >= first_instant)
      WHERE partition = (SELECT max(partition) FROM partitions)`;
  return () => database.exec(sql);
}

/** Begins the next partition where the newest is full and not of one instant all through. */
function createRollPartition(database: DatabaseSync): Step {
  const newest = database.prepare('SELECT partition, first_instant, messages FROM partitions ORDER BY partition DESC LIMIT 1');
  const boundary = database.prepare(`
    SELECT instant FROM by_sender WHERE partition = ? AND instant > ? ORDER BY instant DESC LIMIT 1 OFFSET ${MOVED_MESSAGES}`);
  const move = database.prepare('UPDATE by_sender SET partition = partition + 1 WHERE partition = ? AND instant >= ?');
  const begin = database.prepare('INSERT INTO partitions VALUES (?, ?, ?)');
  for (const statement of [move, begin]) acceptAnyRowId(statement);
  return () => {
    const { partition, first_instant, messages } = newest.get() ?? {};
    if (typeof partition !== 'number' || typeof first_instant !== 'string' || Number(messages) < PARTITION_MESSAGES) return;
    const instant = boundary.get(partition, first_instant)?.['instant'];
    if (typeof instant !== 'string') return;
    const { changes } = move.run(partition, instant);
    begin.run(partition + 1, instant, changes);
  };
}

/** Only once a later message is in the index will no more come into a part. */
function createIndexNextPart(database: DatabaseSync): () => boolean {
  const next = database.prepare(`
    SELECT min(id) >> ${PART_BITS} AS part, (SELECT indexed_through FROM progress) >> ${PART_BITS} AS newest
    FROM inbox_file.messages WHERE id >= (SELECT searchable_below FROM progress)`);
  const texts = database.prepare(`
    SELECT id & ${2 ** PART_BITS - 1} AS place, text FROM inbox_file.messages
    WHERE id >= ? << ${PART_BITS} AND id < (? + 1) << ${PART_BITS} AND text IS NOT NULL`);
  const add = database.prepare('INSERT INTO pieces VALUES (?, ?, ?)');
  const note = database.prepare('INSERT INTO parts VALUES (?)');
  const advance = database.prepare(`UPDATE progress SET searchable_below = (? + 1) << ${PART_BITS}`);
  for (const statement of [add, note, advance]) acceptAnyRowId(statement);
  const mergeSegment = createMergeSegment(database);
  return () => {
    const { part, newest } = next.get() ?? {};
    if (typeof part !== 'number' || part >= Number(newest)) return false;
    const rows = texts.all(part, part).map((row): Placed => ({ place: Number(row['place']), text: String(row['text']) }));
    indexPart(rows).forEach((piece, number) => add.run(part, number, piece));
    note.run(part);
    advance.run(part);
    mergeSegment();
    return true;
  };
}

/** Makes a segment of its parts, where no more will come into it. */
function createMergeSegment(database: DatabaseSync): Step {
  const bits = SEGMENT_BITS - PART_BITS;
  const next = database.prepare(`
    SELECT min(part) >> ${bits} AS segment, (SELECT searchable_below FROM progress) >> ${SEGMENT_BITS} AS newest FROM parts`);
  const pieces = database.prepare(`
    SELECT part & ${2 ** bits - 1} AS part, places FROM parts CROSS JOIN pieces USING (part)
    WHERE part >> ${bits} = ? AND piece = ? ORDER BY part`);
  const add = database.prepare('INSERT INTO trigrams VALUES (?, ?, ?)');
  const note = database.prepare('INSERT INTO segments VALUES (?)');
  const removals = ['pieces', 'parts'].map((table) => database.prepare(`DELETE FROM ${table} WHERE part >> ${bits} = ?`));
  for (const statement of [add, note, ...removals]) acceptAnyRowId(statement);
  return () => {
    const { segment, newest } = next.get() ?? {};
    if (typeof segment !== 'number' || segment >= Number(newest)) return;
    for (let number = 0; number < PIECES; number += 1) {
      const found = pieces.all(segment, number).flatMap(({ part, places }): PieceOfPart[] =>
        (places instanceof Uint8Array ? [{ part: Number(part), piece: places }] : []));
      for (const { trigram, places } of mergePieces(number, found)) add.run(segment, trigram, places);
    }
    note.run(segment);
    for (const remove of removals) remove.run(segment);
  };
}
