/** Messages in the order in which they were stored, which is that of their row ids. */
import { mostLookedAt, toPart } from '../../query.ts';
import type { Sequence, StoredMessages, StoredQuery } from '../../storage.ts';
import { holdsIn, SELECT_NEWEST } from '../file/generations.ts';
import { MATCHES } from './search.ts';
import { toMessage, toReceipt, type Row, type Snapshot } from './snapshot.ts';

const HOLDS = holdsIn('main');

/** The highest that was ever given out, also where its message is gone. */
export function readNewestSequence({ first }: Snapshot): Sequence {
  return String(first(SELECT_NEWEST)?.['sequence']);
}

/** Whether a sequence of a generation still means the same here. */
export function readHolds({ first }: Snapshot, generation: string, sequence: Sequence): boolean {
  return first(HOLDS, [sequence, generation])?.['holds'] === 1;
}

/** The messages that match among the next ones, up to where the part is full or enough was looked at. */
export function readStored({ each, first, isVisible }: Snapshot, query: StoredQuery): StoredMessages {
  const { after, limit, message_id, from, q } = query;
  // Texts become numbers in SQL: a row id may be larger than a JavaScript number is exact.
  const end = first(`
    SELECT CAST(max(id) AS TEXT) AS last, count(*) AS looked_at
    FROM (SELECT id FROM messages NOT INDEXED WHERE id > CAST(? AS INTEGER) AND ${isVisible('messages.id')} ORDER BY id LIMIT ?)`,
    [after, mostLookedAt(query)]);
  const last = end?.['last'];
  if (typeof last !== 'string') return { items: [], through: after, isAll: true };
  const conditions = [
    { sql: `id > CAST(? AS INTEGER) AND id <= CAST(? AS INTEGER) AND ${isVisible('messages.id')}`, parameters: [after, last] },
    ...(message_id === undefined ? [] : [{ sql: 'message_id = ?', parameters: [message_id] }]),
    ...(from === undefined ? [] : [{ sql: 'from_number = ?', parameters: [from] }]),
    ...(q === undefined ? [] : [{ sql: MATCHES, parameters: [q] }]),
  ];
  const rows = each(`
    SELECT CAST(id AS TEXT) AS sequence, message_id, from_number, to_number, ts, text, received_at
    FROM messages NOT INDEXED WHERE ${conditions.map(({ sql }) => sql).join(' AND ')} ORDER BY id LIMIT ?`,
    [...conditions.flatMap(({ parameters }) => parameters), limit]);
  return toPart(query, Iterator.from(rows).map(toStored), { last, count: Number(end?.['looked_at']) });
}

const toStored = (row: Row) => ({ ...toReceipt(row), message: toMessage(row) });
