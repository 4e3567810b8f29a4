/** Messages in the order in which they were stored, which is that of their row ids. */
import type { Message } from '../../../message.ts';
import { type Sequence, STORED_PART_BYTES, type StoredMessages, type StoredQuery } from '../../storage.ts';
import { holdsIn, SELECT_NEWEST } from '../file/generations.ts';
import { MATCHES } from './search.ts';
import { toMessage, type Row, type Snapshot } from './snapshot.ts';

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
export function readStored({ each, first }: Snapshot, { after, limit, from, q }: StoredQuery): StoredMessages {
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
  const rows = each(`
    SELECT CAST(id AS TEXT) AS sequence, message_id, from_number, to_number, ts, text
    FROM messages NOT INDEXED WHERE ${conditions.map(({ sql }) => sql).join(' AND ')} ORDER BY id LIMIT ?`,
    [...conditions.flatMap(({ parameters }) => parameters), limit]);
  const { items, isCut } = takeItems(rows);
  const through = isCut || items.length === limit ? items.at(-1)?.sequence ?? last : last;
  return { items, through, isAll: through === last && Number(end?.['looked_at']) < most };
}

/** The first rows, up to the one before their bytes are too many, or the first alone; `isCut`: there are more. */
function takeItems(rows: Iterable<Row>): { items: StoredMessages['items'][number][]; isCut: boolean } {
  const items = [];
  let bytes = 0;
  for (const row of rows) {
    const message = toMessage(row);
    bytes += bytesOf(message);
    if (items.length > 0 && bytes > STORED_PART_BYTES) return { items, isCut: true };
    items.push({ sequence: String(row['sequence']), message });
  }
  return { items, isCut: false };
}

const bytesOf = ({ message_id, from, to, ts, text }: Message): number => Buffer.byteLength(`${message_id}${from}${to}${ts}${text ?? ''}`);
