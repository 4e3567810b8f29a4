import type { DatabaseSync } from 'node:sqlite';
import { acceptAnyRowId } from './append.ts';
import { indexPart, mergePieces, PART_BITS, type PieceOfPart, PIECES, type Placed, SEGMENT_BITS } from './trigrams.ts';

/**
 * Returns what takes the texts of the next part into the index, inside the caller's transaction, and makes a segment of the parts
 * of one that is whole; false where the part is not full: only once a later message is in the index will no more come into it.
 */
export function createIndexTexts(database: DatabaseSync): () => boolean {
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
function createMergeSegment(database: DatabaseSync): () => void {
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
