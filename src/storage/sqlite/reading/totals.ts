/** How many messages there are, from counts that are kept, and from those messages that are not in the index yet. */
import { MS_PER_MINUTE, TOP_SENDERS } from '../../query.ts';
import type { Arrivals, Stats } from '../../storage.ts';
import { startOf } from './bounds.ts';
import type { OrderedRange } from './ordered-range.ts';
import { ALL_MESSAGES, type Snapshot, UNINDEXED } from './snapshot.ts';

function countAll({ first }: Snapshot): number {
  return Number(first(`SELECT ${ALL_MESSAGES} AS messages`)?.['messages']);
}

export function countOfSender({ first }: Snapshot, from: string): number {
  return Number(first(`
    SELECT ifnull((SELECT messages FROM read_index.senders WHERE from_number = ?), 0)
      + (SELECT count(*) FROM messages NOT INDEXED WHERE ${UNINDEXED} AND from_number = ?) AS messages`, [from, from])?.['messages']);
}

/** Messages from an instant on: those of the partitions behind its own, by their counts, and what is left of its own, one by one. */
function countSince(snapshot: Snapshot, since: string, range: OrderedRange): number {
  const next = snapshot.first(`
    SELECT first_instant AS instant, first_message_id AS message_id FROM read_index.partitions
    WHERE (first_instant, first_message_id) > (?, '') ORDER BY first_instant, first_message_id LIMIT 1`, [since]);
  const begin = startOf(since);
  if (next === undefined) return range.count({ begin, end: undefined });
  const end = { instant: String(next['instant']), message_id: String(next['message_id']) };
  const behind = snapshot.first(`
    SELECT
      (SELECT sum(messages) FROM read_index.partitions WHERE (first_instant, first_message_id) >= (?1, ?2))
      + (SELECT count(*) FROM messages NOT INDEXED WHERE ${UNINDEXED} AND (instant, message_id) >= (?1, ?2)) AS messages`,
    [end.instant, end.message_id]);
  return Number(behind?.['messages']) + range.count({ begin, end });
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
