/** How many messages there are, from counts that the index keeps, and from those messages that are not in it yet. */
import type { Arrivals, Stats } from '../storage.ts';
import { MS_PER_MINUTE, PREFIX_LENGTHS, TOP_SENDERS } from './index-schema.ts';
import { type OrderedRange, startOf } from './ordered-range.ts';
import { type Snapshot, UNINDEXED } from './snapshot.ts';

/** Above every character that a text can have. */
const ABOVE_ALL = '\u{10ffff}';

export function countAll({ first, unindexed }: Snapshot): number {
  return Number(first('SELECT messages FROM read_index.progress')?.['messages']) + unindexed;
}

export function countOfSender({ first }: Snapshot, from: string): number {
  return Number(first(`
    SELECT ifnull((SELECT messages FROM read_index.senders WHERE from_number = ?), 0)
      + (SELECT count(*) FROM messages NOT INDEXED WHERE ${UNINDEXED} AND from_number = ?) AS messages`, [from, from])?.['messages']);
}

/**
 * Messages from an instant on: the days after its day, the hours of that day after its hour, the minutes of that hour after its
 * minute, and, one by one, what is left of that minute.
 */
function countSince(snapshot: Snapshot, since: string, range: OrderedRange): number {
  let indexed = 0;
  let below = ABOVE_ALL;
  for (const length of PREFIX_LENGTHS) {
    const prefix = since.slice(0, length);
    indexed += Number(snapshot.first(`
      SELECT total(messages) AS messages FROM read_index.instant_counts WHERE length = ? AND prefix > ? AND prefix < ?`,
      [length, prefix, below])?.['messages']);
    below = prefix + ABOVE_ALL;
  }
  const later = Number(snapshot.first(`
    SELECT count(*) AS messages FROM messages NOT INDEXED WHERE ${UNINDEXED} AND instant >= ?`, [below])?.['messages']);
  return indexed + later + range.count({ begin: startOf(since), end: startOf(below) });
}

/** How many messages a query without a search matches. */
export function countMatching(snapshot: Snapshot, query: { from?: string; since?: string }, range: OrderedRange): number {
  const { from, since } = query;
  if (since === undefined) return from === undefined ? countAll(snapshot) : countOfSender(snapshot, from);
  return from === undefined ? countSince(snapshot, since, range) : range.count({ begin: startOf(since), end: undefined });
}

/**
 * The ten with the most, each row with how many senders the index does not know. Only a sender of a message that is not in the
 * index can have overtaken one of the ten that are kept, and counts only grow, so of two the larger is the newer.
 */
const TOP_SENDERS_NOW = `
  WITH changed AS MATERIALIZED (
    SELECT from_number, count(*) AS added,
      (SELECT messages FROM read_index.senders WHERE senders.from_number = messages.from_number) AS kept
    FROM messages NOT INDEXED WHERE ${UNINDEXED} GROUP BY from_number
  )
  SELECT from_number, max(messages) AS messages, (SELECT count(*) FROM changed WHERE kept IS NULL) AS new_senders FROM (
    SELECT from_number, added + ifnull(kept, 0) AS messages FROM changed
    WHERE added + ifnull(kept, 0) >= ifnull((SELECT min(messages) FROM read_index.top_senders HAVING count(*) = ?), 0)
    UNION ALL SELECT from_number, messages FROM read_index.top_senders
  ) GROUP BY from_number ORDER BY messages DESC, from_number LIMIT ?`;

export function readStats(snapshot: Snapshot): Stats {
  const { all, first } = snapshot;
  const top = all(TOP_SENDERS_NOW, [TOP_SENDERS, TOP_SENDERS]);
  const tsAtEnd = (direction: 'ASC' | 'DESC'): string | null => {
    const row = first(`SELECT ts FROM messages ORDER BY instant ${direction}, message_id ${direction} LIMIT 1`);
    return row === undefined ? null : String(row['ts']);
  };
  return {
    total: countAll(snapshot),
    senders: Number(first('SELECT senders FROM read_index.progress')?.['senders']) + Number(top[0]?.['new_senders'] ?? 0),
    topSenders: top.map((row) => ({ from: String(row['from_number']), count: Number(row['messages']) })),
    firstTs: tsAtEnd('ASC'),
    lastTs: tsAtEnd('DESC'),
  };
}

/** Messages by the minute in which they were received, from one on. */
export function readArrivals({ all }: Snapshot, sinceMinute: number): Arrivals[] {
  const rows = all(`
    SELECT minute, sum(messages) AS messages FROM (
      SELECT minute, messages FROM read_index.arrivals WHERE minute >= ?
      UNION ALL
      SELECT received_at / ${MS_PER_MINUTE}, count(*) FROM messages NOT INDEXED
      WHERE ${UNINDEXED} AND received_at >= ? GROUP BY 1
    ) GROUP BY minute ORDER BY minute`, [sinceMinute, sinceMinute * MS_PER_MINUTE]);
  return rows.map((row) => ({ minute: Number(row['minute']), count: Number(row['messages']) }));
}
