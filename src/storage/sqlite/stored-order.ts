/** Messages in the order in which they were stored, which is that of their row ids. */
import type { Sequence, StoredMessages, StoredQuery } from '../storage.ts';
import { holdsIn, SELECT_NEWEST } from './generations.ts';
import { MATCHES } from './search.ts';
import { toMessage, type Snapshot } from './snapshot.ts';

/** Rows that a read with a filter looks at: a few milliseconds. */
const STEP_ROWS = 2_000;

const HOLDS = holdsIn('main');

/** The highest that was ever given out, also where its message is gone. */
export function readNewestSequence({ first }: Snapshot): Sequence {
  return String(first(SELECT_NEWEST)?.['sequence']);
}

/** Whether a sequence of a generation still means the same here. */
export function readHolds({ first }: Snapshot, generation: string, sequence: Sequence): boolean {
  return first(HOLDS, [sequence, generation])?.['holds'] === 1;
}

/** The messages that match among the next ones, up to where the page is full or enough was looked at. */
export function readStored({ all, first }: Snapshot, { after, limit, from, q }: StoredQuery): StoredMessages {
  const most = from === undefined && q === undefined ? limit : STEP_ROWS;
  // Texts become numbers in SQL: a row id may be larger than a JavaScript number is exact.
  const end = first(`
    SELECT CAST(max(id) AS TEXT) AS last, count(*) AS looked_at
    FROM (SELECT id FROM messages NOT INDEXED WHERE id > CAST(? AS INTEGER) ORDER BY id LIMIT ?)`, [after, most]);
  const last = end?.['last'];
  if (typeof last !== 'string') return { items: [], through: after, isAll: true };
  const conditions = [
    { sql: 'id > CAST(? AS INTEGER) AND id <= CAST(? AS INTEGER)', parameters: [after, last] },
    ...(from === undefined ? [] : [{ sql: 'from_number = ?', parameters: [from] }]),
    ...(q === undefined ? [] : [{ sql: MATCHES, parameters: [q] }]),
  ];
  const rows = all(`
    SELECT CAST(id AS TEXT) AS sequence, message_id, from_number, to_number, ts, text
    FROM messages NOT INDEXED WHERE ${conditions.map(({ sql }) => sql).join(' AND ')} ORDER BY id LIMIT ?`,
    [...conditions.flatMap(({ parameters }) => parameters), limit]);
  const items = rows.map((row) => ({ sequence: String(row['sequence']), message: toMessage(row) }));
  const through = items.length === limit ? items.at(-1)?.sequence ?? last : last;
  return { items, through, isAll: through === last && Number(end?.['looked_at']) < most };
}
