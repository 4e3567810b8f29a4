/** Finding a substring of the text: by the text index, or by looking at every text of a range. */
import { directionOf, type Found, type PlacedMessage } from '../../query.ts';
import type { MessageQuery, Position } from '../../storage.ts';
import { candidatesOf, isSearchable } from '../indexing/text-index/candidates.ts';
import { type Bounds, boundsOfPage, compare, overlap, startOf } from './bounds.ts';
import { createOrderedRange } from './ordered-range.ts';
import { readMessages, type Row, type Selection, type Snapshot } from './snapshot.ts';
import { countOfSender } from './totals.ts';

/** Not LIKE: that stops at a NUL in the pattern, gives % and _ a meaning, and is an error past 50,000 bytes. */
export const MATCHES = 'instr(lower(text), lower(?)) > 0';
/** Rows whose text is looked at in one step; the largest texts are 16 KB. */
const WALK_STEP_ROWS = 2_000;
/** A sender of fewer messages is searched by looking at each. */
const FEW_MESSAGES = 5_000;
/** Most matches that are held to be ordered; a page further behind is found by walking. */
const MOST_HELD = 50_000;

export function search(snapshot: Snapshot, query: MessageQuery, q: string): Found {
  const { from, limit, offset } = query;
  const walks = !isSearchable(q) || offset + limit > MOST_HELD ||
    (from !== undefined && countOfSender(snapshot, from) <= FEW_MESSAGES);
  return walks ? searchByWalking(snapshot, query, q) : searchByTextIndex(snapshot, query, q);
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

/** Looks at the candidates of the text index, and keeps the first matches in order. */
function searchByTextIndex(snapshot: Snapshot, query: MessageQuery, q: string): Found {
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
  for (const candidates of candidatesOf(snapshot.all, 'read_index', q)) look(candidates);

  const ids = matches.slice(query.offset).map(({ id }) => id);
  const selection = { sql: 'SELECT CAST(value AS INTEGER) AS id FROM json_each(?)', parameters: [JSON.stringify(ids)] };
  return { total, messages: readMessages(snapshot, selection, direction) };
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
function readMatches({ all, isVisible }: Snapshot, candidates: Selection, query: MatchQuery): Row[] {
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
    { sql: isVisible('messages.id'), parameters: [] },
    { sql: MATCHES, parameters: [q] },
  ];
  const sql = `
    SELECT id, instant, message_id, on_page, count(*) OVER () AS found FROM (
      SELECT CAST(id AS TEXT) AS id, instant, message_id, ${['1', ...onPage.map((bound) => bound.sql)].join(' AND ')} AS on_page
      FROM messages NOT INDEXED WHERE ${conditions.map((condition) => condition.sql).join(' AND ')}
    ) ORDER BY on_page DESC, instant ${direction}, message_id ${direction} LIMIT ?`;
  return all(sql, [...onPage, ...conditions].flatMap((part) => [...part.parameters]).concat(wanted));
}
