/** Finding a substring of the text: by the trigrams of the index, or by looking at every text of a range. */
import type { MessageQuery, Position } from '../storage.ts';
import { type Bounds, boundsOfPage, compare, createOrderedRange, directionOf, overlap, startOf } from './ordered-range.ts';
import { type PlacedMessage, readMessages, type Row, type Selection, type Snapshot } from './snapshot.ts';
import { countOfSender } from './totals.ts';
import { intersect, LEAST_SEARCHABLE_UNITS, PART_BITS, pieceOf, placesInPiece, SEGMENT_BITS, trigramsOf } from './trigrams.ts';

export interface Found {
  readonly total: number;
  /** Up to one more than the page takes, so that it shows whether more follow. */
  readonly messages: readonly PlacedMessage[];
}

/** Not LIKE: that stops at a NUL in the pattern, gives % and _ a meaning, and is an error past 50,000 bytes. */
export const MATCHES = 'instr(lower(text), lower(?)) > 0';
/** Rows whose text is looked at in one step; the largest texts are 16 KB. */
const WALK_STEP_ROWS = 2_000;
/** A sender of fewer messages is searched by looking at each. */
const FEW_MESSAGES = 5_000;
/** Segments whose postings are in memory together: a megabyte or two of the most frequent trigrams. */
const SEGMENTS_AT_ONCE = 16;
/** Most matches that are held to be ordered; a page further behind is found by walking. */
const MOST_HELD = 50_000;

export function search(snapshot: Snapshot, query: MessageQuery, q: string): Found {
  const { from, limit, offset } = query;
  const walks = q.length < LEAST_SEARCHABLE_UNITS || offset + limit > MOST_HELD ||
    (from !== undefined && countOfSender(snapshot, from) <= FEW_MESSAGES);
  return walks ? searchByWalking(snapshot, query, q) : searchByTrigrams(snapshot, query, q);
}

/** Looks at every text from `since` on, step by step in order: all are counted, and those of the page are kept. */
function searchByWalking(snapshot: Snapshot, query: MessageQuery, q: string): Found {
  const { from, since, after, limit, offset } = query;
  const direction = directionOf(query);
  const range = createOrderedRange(snapshot, from);
  const matching = (bounds: Bounds): Selection => {
    const { sql, parameters } = range.keys(bounds);
    return {
      sql: `
        SELECT message.id, message.instant, message.message_id
        FROM (${sql}) CROSS JOIN messages AS message USING (id) WHERE ${MATCHES}`,
      parameters: [...parameters, q],
    };
  };
  const count = ({ sql, parameters }: Selection): number =>
    Number(snapshot.first(`SELECT count(*) AS found FROM (${sql})`, parameters)?.['found']);

  const messages: PlacedMessage[] = [];
  let total = 0;
  let skipped = 0;
  for (let rest: Bounds | undefined = { begin: startOf(since), end: undefined }; rest !== undefined;) {
    const step = range.split(rest, direction, WALK_STEP_ROWS);
    const found = count(matching(step.first));
    const wanted = limit + 1 - messages.length;
    if (found > 0 && wanted > 0) {
      const page = matching(overlap(step.first, boundsOfPage(query)));
      const onPage = after === undefined ? found : count(page);
      const offsetHere = Math.max(0, offset - skipped);
      if (offsetHere < onPage) messages.push(...readMessages(snapshot, {
        sql: `${page.sql} ORDER BY message.instant ${direction}, message.message_id ${direction} LIMIT ? OFFSET ?`,
        parameters: [...page.parameters, wanted, offsetHere],
      }, direction));
      skipped += onPage;
    }
    total += found;
    rest = step.rest;
  }
  return { total, messages };
}

interface Match {
  /** As text: an id can be larger than a JavaScript number is exact. */
  readonly id: string;
  readonly position: Position;
}

/** Looks at the candidates of the index, then at all messages that it does not have texts of yet, and keeps the first matches in order. */
function searchByTrigrams(snapshot: Snapshot, query: MessageQuery, q: string): Found {
  const wanted = query.offset + query.limit + 1;
  const direction = directionOf(query);
  const compareInOrder = direction === 'ASC' ? compare : (a: Position, b: Position) => compare(b, a);
  let total = 0;
  let matches: Match[] = [];

  const look = (candidates: Selection): void => {
    snapshot.requireTime();
    // Once the page is full, only what comes before its end can change it.
    const before = matches.length === wanted ? matches.at(-1)?.position : undefined;
    const rows = readMatches(snapshot, candidates, { ...query, q, before, wanted });
    total += Number(rows[0]?.['found'] ?? 0);
    const found = rows.filter((row) => row['on_page'] === 1).map((row): Match => ({
      id: String(row['id']), position: { instant: String(row['instant']), message_id: String(row['message_id']) },
    }));
    if (found.length > 0) matches = [...matches, ...found].sort((a, b) => compareInOrder(a.position, b.position)).slice(0, wanted);
  };
  for (const candidates of candidatesOf(snapshot, trigramsOf(q))) look(candidates);
  look({ sql: 'id >= (SELECT searchable_below FROM read_index.progress)', parameters: [] });

  const ids = matches.slice(query.offset).map(({ id }) => id);
  const selection = { sql: 'SELECT CAST(value AS INTEGER) AS id FROM json_each(?)', parameters: [JSON.stringify(ids)] };
  return { total, messages: readMessages(snapshot, selection, direction) };
}

/** For each segment and part in which messages can match, a condition on `id` that is true of all of those. */
function* candidatesOf({ all }: Snapshot, trigrams: readonly number[]): Iterable<Selection> {
  const segments = all('SELECT segment FROM read_index.segments ORDER BY segment').map((row) => Number(row['segment']));
  for (let first = 0; first < segments.length; first += SEGMENTS_AT_ONCE) {
    const some = segments.slice(first, first + SEGMENTS_AT_ONCE);
    const postings = all(`
      SELECT segment, places FROM (SELECT value AS segment FROM json_each(?)) CROSS JOIN read_index.trigrams USING (segment)
      WHERE trigram IN (SELECT value FROM json_each(?))`, [JSON.stringify(some), JSON.stringify(trigrams)]);
    for (const [segment, found] of Map.groupBy(postings, (row) => Number(row['segment']))) {
      const places = found.map((row) => row['places']).filter((blob) => blob instanceof Uint8Array);
      if (places.length === trigrams.length) yield* candidatesAt(segment, SEGMENT_BITS, intersect(places));
    }
  }
  const pieces = all(`
    SELECT part, piece, places FROM read_index.parts CROSS JOIN read_index.pieces USING (part)
    WHERE piece IN (SELECT value FROM json_each(?))`, [JSON.stringify(trigrams.map(pieceOf))]);
  for (const [part, found] of Map.groupBy(pieces, (row) => Number(row['part']))) {
    const piecesOfPart = new Map(found.map((row) => [row['piece'], row['places']]));
    const places = trigrams.map((trigram) => {
      const piece = piecesOfPart.get(pieceOf(trigram));
      return piece instanceof Uint8Array ? placesInPiece(piece, trigram) : new Uint8Array();
    });
    yield* candidatesAt(part, PART_BITS, intersect(places));
  }
}

/** Messages at these places of the segment or part of this number, where there are any. */
function* candidatesAt(number: number, bits: number, places: readonly number[]): Iterable<Selection> {
  if (places.length > 2 ** bits / 4) {
    // Where a good part can match, reading them in a row is faster than one by one.
    yield { sql: `id >= ? << ${bits} AND id < (? + 1) << ${bits}`, parameters: [number, number] };
  } else if (places.length > 0) {
    yield { sql: `id IN (SELECT (? << ${bits}) | value FROM json_each(?))`, parameters: [number, JSON.stringify(places)] };
  }
}

interface MatchQuery extends MessageQuery {
  readonly q: string;
  readonly before: Position | undefined;
  readonly wanted: number;
}

/**
 * The first matches in order that lie on the page (`on_page`), each with how many match in all (`found`); where none lies on it,
 * one that does not.
 */
function readMatches({ all }: Snapshot, candidates: Selection, query: MatchQuery): Row[] {
  const { q, from, since, after, before, wanted } = query;
  const direction = directionOf(query);
  const [behind, ahead] = direction === 'ASC' ? ['>', '<'] : ['<', '>'];
  const position = '(instant, message_id)';
  const onPage = [
    ...(after === undefined ? [] : [{ sql: `${position} ${behind} (?, ?)`, parameters: [after.instant, after.message_id] }]),
    ...(before === undefined ? [] : [{ sql: `${position} ${ahead} (?, ?)`, parameters: [before.instant, before.message_id] }]),
  ];
  const conditions = [
    candidates,
    ...(from === undefined ? [] : [{ sql: 'from_number = ?', parameters: [from] }]),
    ...(since === undefined ? [] : [{ sql: 'instant >= ?', parameters: [since] }]),
    { sql: MATCHES, parameters: [q] },
  ];
  const sql = `
    SELECT id, instant, message_id, on_page, count(*) OVER () AS found FROM (
      SELECT CAST(id AS TEXT) AS id, instant, message_id, ${['1', ...onPage.map((bound) => bound.sql)].join(' AND ')} AS on_page
      FROM messages NOT INDEXED WHERE ${conditions.map((condition) => condition.sql).join(' AND ')}
    ) ORDER BY on_page DESC, instant ${direction}, message_id ${direction} LIMIT ?`;
  return all(sql, [...onPage, ...conditions].flatMap((part) => [...part.parameters]).concat(wanted));
}
