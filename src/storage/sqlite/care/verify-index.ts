/** The read index against the messages that should be in it: every count, and every order (`indexing/schema.ts`). */
import type { SQLInputValue } from 'node:sqlite';
import { MS_PER_MINUTE } from '../../query.ts';
import { type Checking, IS_TAKEN_OUT } from './verify-messages.ts';

/** What should be in the index: all messages up to one, and how many those are. */
export interface Indexed {
  readonly through: string;
  readonly messages: number;
}

export function verifyIndex(checking: Checking, indexed: Indexed): void {
  verifyOrder(checking, indexed);
  verifySenders(checking);
  verifyArrivals(checking, indexed);
}

type Row = Readonly<Record<string, unknown>>;

const first = ({ database }: Checking, sql: string, ...parameters: SQLInputValue[]): Row => database.prepare(sql).get(...parameters) ?? {};

/**
 * Each entry is of a message that is as the entry says, and no two are of one, as an id has one place: so where there are as many
 * entries as messages, each message has one.
 */
function verifyOrder(checking: Checking, { messages }: Indexed): void {
  const { database, say, tell } = checking;
  const entriesOf = database.prepare(`
    SELECT count(*) AS entries,
      total((message.from_number, message.instant, message.message_id)
        IS NOT (entry.from_number, entry.instant, entry.message_id)) AS wrong,
      total((entry.instant, entry.message_id) < (?, ?) OR (entry.instant, entry.message_id) >= (?, ?)) AS outside
    FROM read_index.by_sender AS entry LEFT JOIN main.messages AS message ON message.id = entry.id WHERE entry.partition = ?`);
  const partitions = database.prepare('SELECT * FROM read_index.partitions ORDER BY partition').all();
  let [entries, wrong, outside] = [0, 0, 0];
  partitions.forEach((partition, number) => {
    const [begin, end] = [placeOf(partition), placeOf(partitions[number + 1] ?? AFTER_ALL)];
    const found = entriesOf.get(...begin, ...end, Number(partition['partition'])) ?? {};
    if (found['entries'] !== partition['messages']) {
      say(`the read index: partition ${number + 1} of ${partitions.length} counts ${String(partition['messages'])} messages, and has ${
        String(found['entries'])}`);
    }
    entries += Number(found['entries']);
    wrong += Number(found['wrong']);
    outside += Number(found['outside']);
    tell('orders', { unit: 'messages', done: entries, of: messages });
  });
  const [startOfFirst] = placeOf(partitions[0] ?? AFTER_ALL);
  if (startOfFirst !== '') say('the read index: its first partition does not begin at the beginning');
  const all = Number(first(checking, 'SELECT count(*) AS entries FROM read_index.by_sender')['entries']);
  if (all !== entries) say(`the read index: ${all - entries} entries by sender are in no partition`);
  if (wrong > 0) say(`the read index: ${wrong} entries by sender are not what their messages are`);
  if (outside > 0) say(`the read index: ${outside} entries by sender are in a partition that they do not belong to`);
  if (all !== messages) say(`the read index: it has ${all} messages by sender, of ${messages}`);
  const counted = first(checking, 'SELECT messages FROM read_index.progress')['messages'];
  if (counted !== messages) say(`the read index: it counts ${String(counted)} messages, of ${messages}`);
}

/** U+10FFFF: no instant and no other text is behind it. */
const AFTER_ALL: Row = { first_instant: '\u{10ffff}', first_message_id: '' };
const placeOf = (partition: Row) => [String(partition['first_instant']), String(partition['first_message_id'])] as const;

/** By the order that was just looked at, which is smaller than the messages. */
function verifySenders(checking: Checking): void {
  const { say, tell } = checking;
  tell('counts by sender', { unit: 'messages', done: 0, of: 1 });
  const { senders, wrong, kept, counted } = first(checking, `
    SELECT count(*) AS senders, total(kept.messages IS NOT found.messages) AS wrong,
      (SELECT count(*) FROM read_index.senders) AS kept, (SELECT senders FROM read_index.progress) AS counted
    FROM (SELECT from_number, count(*) AS messages FROM read_index.by_sender GROUP BY from_number) AS found
    LEFT JOIN read_index.senders AS kept USING (from_number)`);
  if (wrong !== 0) say(`the read index: the counts of ${String(wrong)} senders are wrong`);
  if (kept !== senders) say(`the read index: it has counts of ${String(kept)} senders, and there are ${String(senders)}`);
  if (counted !== senders) say(`the read index: it counts ${String(counted)} senders, and there are ${String(senders)}`);
  const top = `
    SELECT from_number, senders.messages FROM read_index.senders, read_index.progress
    WHERE senders.messages > last_top_messages OR (senders.messages = last_top_messages AND from_number <= last_top_number)`;
  const { missing, others } = first(checking, `
    SELECT (SELECT count(*) FROM (${top} EXCEPT SELECT from_number, messages FROM read_index.top_senders)) AS missing,
      (SELECT count(*) FROM (SELECT from_number, messages FROM read_index.top_senders EXCEPT ${top})) AS others`);
  if (missing !== 0 || others !== 0) say('the read index: its senders with the most messages are not those');
}

/** Messages of before an upgrade have no time of arrival. */
function verifyArrivals(checking: Checking, { through }: Indexed): void {
  const { say, tell } = checking;
  tell('counts by minute', { unit: 'messages', done: 0, of: 1 });
  const { minutes, wrong, kept } = first(checking, `
    SELECT count(*) AS minutes, total(kept.messages IS NOT found.messages) AS wrong, (SELECT count(*) FROM read_index.arrivals) AS kept
    FROM (
      SELECT received_at / ${MS_PER_MINUTE} AS minute, count(*) AS messages FROM main.messages NOT INDEXED
      WHERE id <= CAST(? AS INTEGER) AND received_at IS NOT NULL AND NOT ${IS_TAKEN_OUT} GROUP BY 1
    ) AS found LEFT JOIN read_index.arrivals AS kept USING (minute)`, through);
  if (wrong !== 0) say(`the read index: the counts of ${String(wrong)} minutes are wrong`);
  if (kept !== minutes) say(`the read index: it has counts of ${String(kept)} minutes, and messages came in ${String(minutes)}`);
}
