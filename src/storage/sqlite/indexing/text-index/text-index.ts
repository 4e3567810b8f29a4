/** The tables of the index, and what fills them. */
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import {
  indexPart, mergePieces, PART_BITS, pieceOf, type PieceOfPart, PIECES, pieceWithout, type Placed, placesWithout, SEGMENT_BITS,
  TRIGRAM_NUMBERS, trigramsInAny,
} from './trigrams.ts';

/**
 * SQL that makes them.
 *
 * - `searchable`, one row: texts with an id below `below` are in the index.
 * - `pieces`, `trigrams`: which texts hold three characters in a row (`trigrams.ts`): the newest in `parts` of some thousand, in pieces of
 *   many trigrams, which are quickly written; those of each whole segment by trigram, which are quickly read.
 */
export const CREATE_TEXT_INDEX = `
  CREATE TABLE searchable(only_row INTEGER PRIMARY KEY CHECK (only_row = 1), below INTEGER NOT NULL);
  INSERT INTO searchable VALUES (1, -9223372036854775808);
  CREATE TABLE parts(part INTEGER PRIMARY KEY);
  CREATE TABLE pieces(part INTEGER, piece INTEGER, places BLOB NOT NULL, PRIMARY KEY (part, piece)) WITHOUT ROWID;
  CREATE TABLE segments(segment INTEGER PRIMARY KEY);
  CREATE TABLE trigrams(segment INTEGER, trigram INTEGER, places BLOB NOT NULL, PRIMARY KEY (segment, trigram)) WITHOUT ROWID;`;

export interface TextSource {
  /** SQL: a table with an `id`, its INTEGER PRIMARY KEY, and a `text`, which may be NULL. New rows have larger ids than all before. */
  readonly table: string;
  /** SQL: the largest id up to which the table is complete: no row comes to it any more. */
  readonly completeThrough: string;
  /** SQL: a condition on an `id` whose text is to be in no index any more, though its row may still be there. */
  readonly isGone: string;
}

/**
 * Returns what takes the texts of the next part into the index, inside the caller's transaction, and makes a segment of the parts
 * of one that is whole; false where the part is not full: only once a later text is there will no more come into it.
 */
export function createIndexNextPart(database: DatabaseSync, { table, completeThrough, isGone }: TextSource): () => boolean {
  const next = database.prepare(`
    SELECT min(id) >> ${PART_BITS} AS part, ${completeThrough} >> ${PART_BITS} AS newest
    FROM ${table} WHERE id >= (SELECT below FROM searchable)`);
  const texts = database.prepare(`
    SELECT id & ${2 ** PART_BITS - 1} AS place, text FROM ${table}
    WHERE id >= ? << ${PART_BITS} AND id < (? + 1) << ${PART_BITS} AND text IS NOT NULL AND NOT (${isGone})`);
  const add = prepareWrite(database, 'INSERT INTO pieces VALUES (?, ?, ?)');
  const note = prepareWrite(database, 'INSERT INTO parts VALUES (?)');
  const advance = prepareWrite(database, `UPDATE searchable SET below = (? + 1) << ${PART_BITS}`);
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
function createMergeSegment(database: DatabaseSync): () => void {
  const bits = SEGMENT_BITS - PART_BITS;
  const next = database.prepare(`
    SELECT min(part) >> ${bits} AS segment, (SELECT below FROM searchable) >> ${SEGMENT_BITS} AS newest FROM parts`);
  const pieces = database.prepare(`
    SELECT part & ${2 ** bits - 1} AS part, places FROM parts CROSS JOIN pieces USING (part)
    WHERE part >> ${bits} = ? AND piece = ? ORDER BY part`);
  const add = prepareWrite(database, 'INSERT INTO trigrams VALUES (?, ?, ?)');
  const note = prepareWrite(database, 'INSERT INTO segments VALUES (?)');
  const removals = ['pieces', 'parts'].map((name) => prepareWrite(database, `DELETE FROM ${name} WHERE part >> ${bits} = ?`));
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

/**
 * Returns what takes the next segment or part out of whose texts no row is left, inside the caller's transaction; false where there is
 * none: so the index is as large as the table. A look-up for each of them.
 */
export function createForgetNext(database: DatabaseSync, { table }: Pick<TextSource, 'table'>): () => boolean {
  const kinds = [{ name: 'segment', bits: SEGMENT_BITS, places: 'trigrams' }, { name: 'part', bits: PART_BITS, places: 'pieces' }];
  const steps = kinds.map(({ name, bits, places }) => ({
    empty: database.prepare(`
      SELECT ${name} AS number FROM ${name}s
      WHERE NOT EXISTS (SELECT 1 FROM ${table} WHERE id >= ${name} << ${bits} AND id < (${name} + 1) << ${bits}) LIMIT 1`),
    removals: [places, `${name}s`].map((from) => prepareWrite(database, `DELETE FROM ${from} WHERE ${name} = ?`)),
  }));
  return () => steps.some(({ empty, removals }) => {
    const { number } = empty.get() ?? {};
    if (typeof number !== 'number') return false;
    for (const removal of removals) removal.run(number);
    return true;
  });
}

/** Returns what tells, text by text, how many postings at most are written anew where all of them so far are taken out. */
export function createCountPostings(): (id: bigint, characters: number) => number {
  const bySegment = new Map<bigint, number>();
  let all = 0;
  return (id, characters) => {
    const segment = id >> BigInt(SEGMENT_BITS);
    const before = bySegment.get(segment) ?? 0;
    const now = Math.min(TRIGRAM_NUMBERS, before + characters);
    bySegment.set(segment, now);
    all += now - before;
    return all;
  };
}

/**
 * Returns what takes texts out whose rows are still there, inside the caller's transaction: their places in the postings of each of their
 * trigrams. `createCountPostings` tells how many those are; ten thousand take some 0.1 s. `ids`: SQL that selects the texts'.
 */
export function createTakeOutTexts(database: DatabaseSync, { table }: Pick<TextSource, 'table'>, ids: string): () => void {
  const texts = database.prepare(`
    SELECT id >> ${SEGMENT_BITS} AS segment, id & ${2 ** SEGMENT_BITS - 1} AS place, text FROM ${table}
    WHERE id IN (${ids}) AND id < (SELECT below FROM searchable) AND text IS NOT NULL`);
  const takeOutOfSegment = createTakeOutOfSegment(database);
  const takeOutOfParts = createTakeOutOfParts(database);
  return () => {
    for (const [segment, rows] of Map.groupBy(texts.all(), (row) => Number(row['segment']))) {
      const gone = new Set(rows.map(({ place }) => Number(place)));
      const trigrams = trigramsInAny(rows.map(({ text }) => String(text)));
      takeOutOfSegment(segment, gone, trigrams);
      takeOutOfParts(segment, gone, trigrams);
    }
  };
}

type TakeOut = (segment: number, gone: ReadonlySet<number>, trigrams: ReadonlySet<number>) => void;

function createTakeOutOfSegment(database: DatabaseSync): TakeOut {
  const find = database.prepare('SELECT places FROM trigrams WHERE segment = ? AND trigram = ?');
  const replace = prepareWrite(database, 'UPDATE trigrams SET places = ? WHERE segment = ? AND trigram = ?');
  const remove = prepareWrite(database, 'DELETE FROM trigrams WHERE segment = ? AND trigram = ?');
  return (segment, gone, trigrams) => {
    for (const trigram of trigrams) {
      const { places } = find.get(segment, trigram) ?? {};
      if (!(places instanceof Uint8Array)) continue;
      const kept = placesWithout(places, gone);
      if (kept.length === 0) remove.run(segment, trigram);
      else replace.run(kept, segment, trigram);
    }
  };
}

function createTakeOutOfParts(database: DatabaseSync): TakeOut {
  const bits = SEGMENT_BITS - PART_BITS;
  const parts = database.prepare(`SELECT part FROM parts WHERE part >> ${bits} = ?`);
  const find = database.prepare('SELECT places FROM pieces WHERE part = ? AND piece = ?');
  const replace = prepareWrite(database, 'UPDATE pieces SET places = ? WHERE part = ? AND piece = ?');
  return (segment, gone, trigrams) => {
    const numbers = new Set(trigrams.values().map(pieceOf));
    for (const { part } of parts.all(segment)) {
      const first = (Number(part) & (2 ** bits - 1)) << PART_BITS;
      const goneOfPart = new Set(gone.values().map((place) => place - first));
      for (const number of numbers) {
        const { places } = find.get(Number(part), number) ?? {};
        if (places instanceof Uint8Array) replace.run(pieceWithout(places, goneOfPart), Number(part), number);
      }
    }
  };
}

/** Running a statement tells the last row id too, and throws where that is larger than a JavaScript number is exact. */
function prepareWrite(database: DatabaseSync, sql: string): StatementSync {
  const statement = database.prepare(sql);
  statement.setReadBigInts(true);
  return statement;
}
