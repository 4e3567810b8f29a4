/** How many senders there are, and which have the most messages. */
import { TOP_SENDERS } from '../../query.ts';
import type { Stats } from '../../storage.ts';
import { isAmongTop } from '../indexing/top-senders.ts';
import { HIDDEN_IN_INDEX, type Row, type Snapshot, UNINDEXED } from './snapshot.ts';

/** Selects, of senders whose count in the index is not that of now, both: `kept` and `messages`. */
function selectChanged({ isIndexAhead, isVisible }: Snapshot): string {
  return `
    SELECT from_number, ifnull(senders.messages, 0) AS kept, ifnull(senders.messages, 0) + difference AS messages FROM (
      SELECT from_number, sum(difference) AS difference FROM (
        SELECT from_number, count(*) AS difference FROM messages NOT INDEXED
        WHERE ${UNINDEXED} AND ${isVisible('messages.id')} GROUP BY from_number
        ${isIndexAhead ? `UNION ALL SELECT from_number, -count(*) FROM ${HIDDEN_IN_INDEX} GROUP BY from_number` : ''}
      ) GROUP BY from_number
    ) LEFT JOIN read_index.senders USING (from_number)`;
}

/** `counted`: SQL that selects senders with their counts, those of the index. */
const selectTop = (changed: string, counted: string, condition: string) => `
  WITH changed AS MATERIALIZED (${changed})
  SELECT from_number, messages, (SELECT total(kept = 0) - total(messages = 0) FROM changed WHERE kept <> messages) AS new_senders FROM (
    SELECT from_number, messages FROM changed
    UNION ALL SELECT from_number, messages FROM ${counted} WHERE from_number NOT IN (SELECT from_number FROM changed)
  ) WHERE messages > 0 AND ${condition} ORDER BY messages DESC, from_number LIMIT ?`;

/**
 * The ten are among those that the index keeps, and those whose count has changed since, unless so many of those have lost messages that
 * others may come before them: then all are looked at.
 */
export function readSenders(snapshot: Snapshot): Pick<Stats, 'senders' | 'topSenders'> {
  const { all, first } = snapshot;
  const changed = selectChanged(snapshot);
  let top = all(selectTop(changed, 'read_index.top_senders', isAmongTop('messages', 'from_number', 'read_index.progress')), [TOP_SENDERS]);
  const senders = Number(first('SELECT senders FROM read_index.progress')?.['senders']);
  const isAll = (rows: readonly Row[]) => rows.length > 0 && rows.length === senders + Number(rows[0]?.['new_senders']);
  if (top.length < TOP_SENDERS && !isAll(top)) top = all(selectTop(changed, 'read_index.senders', 'true'), [TOP_SENDERS]);
  return {
    senders: top.length === 0 ? 0 : senders + Number(top[0]?.['new_senders']),
    topSenders: top.map((row) => ({ from: String(row['from_number']), count: Number(row['messages']) })),
  };
}
