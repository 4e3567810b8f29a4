/** Which senders have the most messages. */
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { TOP_SENDERS } from '../../query.ts';

/**
 * So many are kept at least, unless there are fewer, until some have lost messages; and with so many, the last ones are left out. The more,
 * the less often all senders have to be looked at when messages vanish.
 */
const KEPT_SENDERS = 100;
const MOST_KEPT_SENDERS = 400;

/** SQL: whether a sender is among those that are kept, by its messages and number; `progress`: SQL of that row. */
export const isAmongTop = (messages: string, number: string, progress: string) => `(
  ${messages} > (SELECT last_top_messages FROM ${progress})
  OR (${messages} = (SELECT last_top_messages FROM ${progress}) AND ${number} <= (SELECT last_top_number FROM ${progress})))`;

/**
 * Returns what brings `top_senders` up to date after the counts of the senders in `chunk_senders` were changed. Nobody who is not kept
 * comes before one who is: who gains messages is looked at here, and who loses some goes behind.
 */
export function createRankSenders(database: DatabaseSync): () => void {
  const update = `
    DELETE FROM top_senders WHERE from_number IN (SELECT from_number FROM chunk_senders);
    INSERT INTO top_senders SELECT from_number, senders.messages FROM chunk_senders CROSS JOIN senders USING (from_number)
      WHERE ${isAmongTop('senders.messages', 'from_number', 'progress')}`;
  const look = database.prepare(`
    SELECT (SELECT count(*) FROM top_senders) AS kept, senders,
      last_top_number <> '' AND last_top_number NOT IN (SELECT from_number FROM senders) AS is_last_gone
    FROM progress`);
  const lastKept = database.prepare(`
    SELECT messages, from_number FROM top_senders ORDER BY messages DESC, from_number LIMIT 1 OFFSET ${KEPT_SENDERS - 1}`);
  const setLast = database.prepare('UPDATE progress SET last_top_messages = ?, last_top_number = ?');
  const leaveOut = `DELETE FROM top_senders WHERE NOT ${isAmongTop('messages', 'from_number', 'progress')}`;
  const fill = `
    DELETE FROM top_senders;
    INSERT INTO top_senders SELECT from_number, messages FROM senders ORDER BY messages DESC, from_number LIMIT ${KEPT_SENDERS}`;

  // None is kept where there is none.
  const veryLast = database.prepare('SELECT messages, from_number FROM top_senders ORDER BY messages, from_number DESC LIMIT 1');

  function endAt(last: StatementSync): void {
    const { messages = 0, from_number = '' } = last.get() ?? {};
    setLast.run(messages, from_number);
    database.exec(leaveOut);
  }
  return () => {
    database.exec(update);
    const { kept, senders, is_last_gone } = look.get() ?? {};
    const isTooFew = Number(kept) < TOP_SENDERS && Number(kept) < Number(senders);
    if (isTooFew) database.exec(fill);
    if (isTooFew || Number(kept) > MOST_KEPT_SENDERS) endAt(lastKept);
    // The number of one who is gone stands nowhere.
    else if (is_last_gone === 1) endAt(veryLast);
  };
}
