/** Asking the index: which texts may hold a substring. */
import { intersect, LEAST_SEARCHABLE_UNITS, PART_BITS, pieceOf, placesInPiece, SEGMENT_BITS, trigramsOf } from './trigrams.ts';

/** A condition on `id`, in SQL, with its parameters. */
export interface Candidates {
  readonly sql: string;
  readonly parameters: readonly (number | string)[];
}

/** Runs a query and returns its rows. */
type All = (sql: string, parameters: readonly (number | string)[]) => readonly Readonly<Record<string, unknown>>[];

/** Segments whose postings are in memory together: a megabyte or two of the most frequent trigrams. */
const SEGMENTS_AT_ONCE = 16;

/** Whether the index can tell anything of a substring: a shorter one has no three characters in a row. */
export const isSearchable = (substring: string): boolean => substring.length >= LEAST_SEARCHABLE_UNITS;

/**
 * Conditions that together are true of every text that holds the substring, and of some that do not: a few thousand texts each, the
 * last those that are not in the index yet. `schema`: the name of the database that the index is in.
 */
export function* candidatesOf(all: All, schema: string, substring: string): Iterable<Candidates> {
  const trigrams = trigramsOf(substring);
  const segments = all(`SELECT segment FROM ${schema}.segments ORDER BY segment`, []).map((row) => Number(row['segment']));
  for (let first = 0; first < segments.length; first += SEGMENTS_AT_ONCE) {
    const some = segments.slice(first, first + SEGMENTS_AT_ONCE);
    const postings = all(`
      SELECT segment, places FROM (SELECT value AS segment FROM json_each(?)) CROSS JOIN ${schema}.trigrams USING (segment)
      WHERE trigram IN (SELECT value FROM json_each(?))`, [JSON.stringify(some), JSON.stringify(trigrams)]);
    for (const [segment, found] of Map.groupBy(postings, (row) => Number(row['segment']))) {
      const places = found.map((row) => row['places']).filter((blob) => blob instanceof Uint8Array);
      if (places.length === trigrams.length) yield* candidatesAt(segment, SEGMENT_BITS, intersect(places));
    }
  }
  const pieces = all(`
    SELECT part, piece, places FROM ${schema}.parts CROSS JOIN ${schema}.pieces USING (part)
    WHERE piece IN (SELECT value FROM json_each(?))`, [JSON.stringify(trigrams.map(pieceOf))]);
  for (const [part, found] of Map.groupBy(pieces, (row) => Number(row['part']))) {
    const piecesOfPart = new Map(found.map((row) => [row['piece'], row['places']]));
    const places = trigrams.map((trigram) => {
      const piece = piecesOfPart.get(pieceOf(trigram));
      return piece instanceof Uint8Array ? placesInPiece(piece, trigram) : new Uint8Array();
    });
    yield* candidatesAt(part, PART_BITS, intersect(places));
  }
  yield { sql: `id >= (SELECT below FROM ${schema}.searchable)`, parameters: [] };
}

/** Texts at these places of the segment or part of this number, where there are any. */
function* candidatesAt(number: number, bits: number, places: readonly number[]): Iterable<Candidates> {
  if (places.length > 2 ** bits / 4) {
    // Where a good part can match, reading them in a row is faster than one by one.
    yield { sql: `id >= ? << ${bits} AND id < (? + 1) << ${bits}`, parameters: [number, number] };
  } else if (places.length > 0) {
    yield { sql: `id IN (SELECT (? << ${bits}) | value FROM json_each(?))`, parameters: [number, JSON.stringify(places)] };
  }
}
