/**
 * The messages of one sender, or of all, in order: a range of an index, walked in steps, each over a bounded number of its
 * entries, because a running statement cannot be interrupted.
 */
import type { MessageQuery, Position } from '../storage.ts';
import { partitionOf } from './index-schema.ts';
import { readMessages, type Parameters, type PlacedMessage, type Selection, type Snapshot, UNINDEXED } from './snapshot.ts';

/** Index entries walked in one step: a few milliseconds. */
const STEP_ENTRIES = 20_000;

export interface OrderedRange {
  /** SQL that selects `instant`, `message_id` and `id` from `begin` on, and before `end` where that is given; without order. */
  keys(begin: Position, end?: Position): Selection;
  /** The position `entries` after `begin`, or undefined where the range ends before. */
  seek(begin: Position, entries: number): Position | undefined;
  /** How many entries lie from `begin` on, and before `end` where that is given. */
  count(begin: Position, end?: Position): number;
  /** The messages from `begin` on, without the first `offset`. */
  read(begin: Position, limit: number, offset: number): PlacedMessage[];
}

/** Where an order begins, or begins at an instant. */
export const startOf = (instant = ''): Position => ({ instant, message_id: '' });

/** Where the page of a query begins, its offset aside. */
export function firstOfPage({ since, after }: Pick<MessageQuery, 'since' | 'after'>): Position {
  const start = startOf(since);
  if (after === undefined) return start;
  // Nothing is between a text and the same with a NUL behind it.
  const next = { instant: after.instant, message_id: `${after.message_id}\0` };
  return compare(start, next) > 0 ? start : next;
}

/** As SQLite compares: by UTF-8 bytes, which UTF-16 units do not always agree with. */
export function compare(a: Position, b: Position): number {
  const compareBytes = (one: string, other: string) => Buffer.compare(Buffer.from(one), Buffer.from(other));
  return compareBytes(a.instant, b.instant) || compareBytes(a.message_id, b.message_id);
}

interface Order {
  readonly keys: OrderedRange['keys'];
  /** ORDER BY terms that the keys' own order satisfies, so that a LIMIT ends the walk. */
  readonly terms: string;
}

export function createOrderedRange(snapshot: Snapshot, from: string | undefined): OrderedRange {
  const { keys, terms } = from === undefined ? ORDER_OF_ALL : orderOfSender(from);

  const inOrder = (begin: Position, limit: number, offset: number): Selection => {
    const { sql, parameters } = keys(begin);
    return { sql: `${sql} ORDER BY ${terms} LIMIT ? OFFSET ?`, parameters: [...parameters, limit, offset] };
  };
  const seek: OrderedRange['seek'] = (begin, entries) => {
    snapshot.requireTime();
    const { sql, parameters } = inOrder(begin, 1, entries);
    // Without `id`, which may be larger than a JavaScript number is exact.
    const row = snapshot.first(`SELECT instant, message_id FROM (${sql})`, parameters);
    return row && { instant: String(row['instant']), message_id: String(row['message_id']) };
  };
  return {
    keys,
    seek,
    count(begin, end) {
      const isWithin = (position: Position) => end === undefined || compare(position, end) < 0;
      let counted = 0;
      let from = begin;
      for (let next = seek(from, STEP_ENTRIES); next !== undefined && isWithin(next); next = seek(from, STEP_ENTRIES)) {
        counted += STEP_ENTRIES;
        from = next;
      }
      const { sql, parameters } = keys(from, end);
      return counted + Number(snapshot.first(`SELECT count(*) AS entries FROM (${sql})`, parameters)?.['entries']);
    },
    read(begin, limit, offset) {
      let from: Position | undefined = begin;
      for (let left = offset; left > 0 && from !== undefined; left -= STEP_ENTRIES) from = seek(from, Math.min(left, STEP_ENTRIES));
      return from === undefined ? [] : readMessages(snapshot, inOrder(from, limit, 0));
    },
  };
}

const ORDER_OF_ALL: Order = {
  terms: 'instant, message_id',
  keys(begin, end) {
    const { sql, parameters } = boundsOf(begin, end);
    return { sql: `SELECT instant, message_id, id FROM messages INDEXED BY messages_by_instant WHERE ${sql}`, parameters };
  },
};

/** What is in the index, partition by partition, and what is not there yet, merged by the partition that it will be in. */
function orderOfSender(from: string): Order {
  return {
    terms: 'partition, instant, message_id',
    keys(begin, end) {
      const bounds = boundsOf(begin, end);
      const sql = `
        SELECT instant, message_id, id, partition
        FROM read_index.partitions CROSS JOIN read_index.by_sender USING (partition)
        WHERE partition >= ${partitionOf('?')} AND from_number = ? AND ${bounds.sql}
        UNION ALL
        SELECT instant, message_id, id, ${partitionOf('instant')}
        FROM messages NOT INDEXED WHERE ${UNINDEXED} AND from_number = ? AND ${bounds.sql}`;
      return { sql, parameters: [begin.instant, from, ...bounds.parameters, from, ...bounds.parameters] };
    },
  };
}

function boundsOf(begin: Position, end: Position | undefined): { sql: string; parameters: Parameters } {
  const sql = '(instant, message_id) >= (?, ?)';
  const parameters = [begin.instant, begin.message_id];
  if (end === undefined) return { sql, parameters };
  return { sql: `${sql} AND (instant, message_id) < (?, ?)`, parameters: [...parameters, end.instant, end.message_id] };
}
