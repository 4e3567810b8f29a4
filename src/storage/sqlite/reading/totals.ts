/**
 * How many messages there are, from counts that are kept, and from those messages that are not in the index yet, or are still in it though
 * they are hidden.
 */
import { MS_PER_MINUTE } from '../../query.ts';
import type { Arrivals, Stats } from '../../storage.ts';
import { startOf } from './bounds.ts';
import type { OrderedRange } from './ordered-range.ts';
import { readSenders } from './senders.ts';
import { ALL_MESSAGES, HIDDEN_IN_INDEX, type Parameters, type Snapshot, UNINDEXED } from './snapshot.ts';

function countAll({ first }: Snapshot): number {
  return Number(first(`SELECT ${ALL_MESSAGES} AS messages`)?.['messages']);
}

/** What is in the index, but for what of that is hidden, and what is not in it: each part SQL that counts. */
function countBeside({ first, isIndexAhead, isVisible }: Snapshot, kept: string, condition: string, parameters: Parameters): number {
  const sql = `
    SELECT ifnull(${kept}, 0)
      + (SELECT count(*) FROM messages NOT INDEXED WHERE ${UNINDEXED} AND ${condition} AND ${isVisible('messages.id')})
      - ${isIndexAhead ? `(SELECT count(*) FROM ${HIDDEN_IN_INDEX} WHERE ${condition})` : '0'} AS messages`;
  return Number(first(sql, parameters)?.['messages']);
}

export function countOfSender(snapshot: Snapshot, from: string): number {
  return countBeside(snapshot, '(SELECT messages FROM read_index.senders WHERE from_number = ?1)', 'from_number = ?1', [from]);
}

/** Messages from an instant on: those of the partitions behind its own, by their counts, and what is left of its own, one by one. */
function countSince(snapshot: Snapshot, since: string, range: OrderedRange): number {
  const next = snapshot.first(`
    SELECT first_instant AS instant, first_message_id AS message_id FROM read_index.partitions
    WHERE (first_instant, first_message_id) > (?, '') ORDER BY first_instant, first_message_id LIMIT 1`, [since]);
  const begin = startOf(since);
  if (next === undefined) return range.count({ begin, end: undefined });
  const end = { instant: String(next['instant']), message_id: String(next['message_id']) };
  const kept = '(SELECT sum(messages) FROM read_index.partitions WHERE (first_instant, first_message_id) >= (?1, ?2))';
  const behind = countBeside(snapshot, kept, '(instant, message_id) >= (?1, ?2)', [end.instant, end.message_id]);
  return behind + range.count({ begin, end });
}

/** How many messages a query without a search matches. */
export function countMatching(snapshot: Snapshot, query: { from?: string; since?: string }, range: OrderedRange): number {
  const { from, since } = query;
  if (since === undefined) return from === undefined ? countAll(snapshot) : countOfSender(snapshot, from);
  return from === undefined ? countSince(snapshot, since, range) : range.count({ begin: startOf(since), end: undefined });
}

export function readStats(snapshot: Snapshot): Stats {
  const { first, isVisible } = snapshot;
  const tsAtEnd = (direction: 'ASC' | 'DESC'): string | null => {
    const row = first(`
      SELECT ts FROM messages INDEXED BY messages_by_instant WHERE ${isVisible('messages.id')}
      ORDER BY instant ${direction}, message_id ${direction} LIMIT 1`);
    return row === undefined ? null : String(row['ts']);
  };
  return {
    total: countAll(snapshot),
    ...readSenders(snapshot),
    firstTs: tsAtEnd('ASC'),
    lastTs: tsAtEnd('DESC'),
  };
}

/** Messages by the minute in which they were received, from one on. */
export function readArrivals({ all, isIndexAhead, isVisible }: Snapshot, sinceMinute: number): Arrivals[] {
  const rows = all(`
    SELECT minute, sum(messages) AS messages FROM (
      SELECT minute, messages FROM read_index.arrivals WHERE minute >= ?1
      UNION ALL
      SELECT received_at / ${MS_PER_MINUTE}, count(*) FROM messages NOT INDEXED
      WHERE ${UNINDEXED} AND received_at >= ?2 AND ${isVisible('messages.id')} GROUP BY 1
      ${isIndexAhead ? `
      UNION ALL
      SELECT received_at / ${MS_PER_MINUTE}, -count(*) FROM ${HIDDEN_IN_INDEX} WHERE received_at >= ?2 GROUP BY 1` : ''}
    ) GROUP BY minute HAVING sum(messages) > 0 ORDER BY minute`, [sinceMinute, sinceMinute * MS_PER_MINUTE]);
  return rows.map((row) => ({ minute: Number(row['minute']), count: Number(row['messages']) }));
}
