/**
 * The messages of one sender, or of all, in order: a range of an index, walked in steps, each over a bounded number of its
 * entries, because a running statement cannot be interrupted.
 */
import type { Direction, PlacedMessage } from '../../query.ts';
import { partitionOf } from '../indexing/schema.ts';
import { type Bounds, rightAfter } from './bounds.ts';
import { readMessages, type Selection, type Snapshot, UNINDEXED } from './snapshot.ts';

/** Index entries walked in one step: a few milliseconds. */
const STEP_ENTRIES = 20_000;

export interface OrderedRange {
  /** SQL that selects `instant`, `message_id` and `id` of what lies within; without order. */
  keys(bounds: Bounds): Selection;
  /** Both parts of the bounds: the first `entries` in that direction, and the rest; undefined where there is none. */
  split(bounds: Bounds, direction: Direction, entries: number): { readonly first: Bounds; readonly rest: Bounds | undefined };
  /** How many entries lie within. */
  count(bounds: Bounds): number;
  /** The messages within, in that direction, without the first `offset`. */
  read(bounds: Bounds, direction: Direction, limit: number, offset: number): PlacedMessage[];
}

interface Order {
  readonly keys: OrderedRange['keys'];
  /** ORDER BY terms that the keys' own order satisfies, so that a LIMIT ends the walk. */
  readonly terms: readonly string[];
}

export function createOrderedRange(snapshot: Snapshot, from: string | undefined): OrderedRange {
  const { keys, terms } = from === undefined ? orderOfAll(snapshot) : orderOfSender(snapshot, from);

  const inOrder = (bounds: Bounds, direction: Direction, limit: number, offset: number): Selection => {
    const { sql, parameters } = keys(bounds);
    const orderBy = terms.map((term) => `${term} ${direction}`).join(', ');
    return { sql: `${sql} ORDER BY ${orderBy} LIMIT ? OFFSET ?`, parameters: [...parameters, limit, offset] };
  };
  const split: OrderedRange['split'] = (bounds, direction, entries) => {
    snapshot.requireTime();
    const { sql, parameters } = inOrder(bounds, direction, 1, entries);
    // Without `id`, which may be larger than a JavaScript number is exact.
    const row = snapshot.first(`SELECT instant, message_id FROM (${sql})`, parameters);
    if (row === undefined) return { first: bounds, rest: undefined };
    const firstOfRest = { instant: String(row['instant']), message_id: String(row['message_id']) };
    if (direction === 'ASC') return { first: { ...bounds, end: firstOfRest }, rest: { ...bounds, begin: firstOfRest } };
    const end = rightAfter(firstOfRest);
    return { first: { ...bounds, begin: end }, rest: { ...bounds, end } };
  };
  return {
    keys,
    split,
    count(bounds) {
      let counted = 0;
      let { first, rest } = split(bounds, 'ASC', STEP_ENTRIES);
      while (rest !== undefined) {
        counted += STEP_ENTRIES;
        ({ first, rest } = split(rest, 'ASC', STEP_ENTRIES));
      }
      const { sql, parameters } = keys(first);
      return counted + Number(snapshot.first(`SELECT count(*) AS entries FROM (${sql})`, parameters)?.['entries']);
    },
    read(bounds, direction, limit, offset) {
      let rest: Bounds | undefined = bounds;
      for (let left = offset; left > 0 && rest !== undefined; left -= STEP_ENTRIES) {
        ({ rest } = split(rest, direction, Math.min(left, STEP_ENTRIES)));
      }
      return rest === undefined ? [] : readMessages(snapshot, inOrder(rest, direction, limit, 0), direction);
    },
  };
}

function orderOfAll({ isVisible }: Snapshot): Order {
  return {
    terms: ['instant', 'message_id'],
    keys(bounds) {
      const { sql, parameters } = conditionOf(bounds);
      return {
        sql: `
          SELECT instant, message_id, id FROM messages INDEXED BY messages_by_instant
          WHERE ${sql} AND ${isVisible('messages.id')}`,
        parameters,
      };
    },
  };
}

/** What is in the index, partition by partition, and what is not there yet, merged by the partition that it will be in. */
function orderOfSender({ isVisible }: Snapshot, from: string): Order {
  return {
    terms: ['partition', 'instant', 'message_id'],
    keys(bounds) {
      const within = conditionOf(bounds);
      const sql = `
        SELECT instant, message_id, id, partition
        FROM read_index.partitions CROSS JOIN read_index.by_sender USING (partition)
        WHERE partition >= ${partitionOf('?, ?')} AND from_number = ? AND ${within.sql} AND ${isVisible('by_sender.id')}
        UNION ALL
        SELECT instant, message_id, id, ${partitionOf('instant, message_id')}
        FROM messages NOT INDEXED WHERE ${UNINDEXED} AND from_number = ? AND ${within.sql} AND ${isVisible('messages.id')}`;
      return { sql, parameters: [bounds.begin.instant, bounds.begin.message_id, from, ...within.parameters, from, ...within.parameters] };
    },
  };
}

function conditionOf({ begin, end }: Bounds): Selection {
  const sql = '(instant, message_id) >= (?, ?)';
  const parameters = [begin.instant, begin.message_id];
  if (end === undefined) return { sql, parameters };
  return { sql: `${sql} AND (instant, message_id) < (?, ?)`, parameters: [...parameters, end.instant, end.message_id] };
}
