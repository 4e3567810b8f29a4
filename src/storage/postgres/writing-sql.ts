/** SQL that stores a batch of messages, and what is around every change of them. */
import { instantOf, type Message } from '../../message.ts';
import { MS_PER_MINUTE } from '../query.ts';
import type { Statement } from './connection.ts';
import { BEGIN, COMMIT, IS_OF_THIS_VERSION, isRemembered } from './schema.ts';
import { CHANNEL, LIMITS, limitsOf } from './sql.ts';

/** Where a transaction has the messages that it stores, as JSON. */
const BATCH = 'webhook_inbox.batch';

/**
 * Synced on the primary, and on the synchronous standbys where there are any, and with a warning where the wait for those was cut short,
 * whatever a session has by default. And the messages as JSON: they go ahead of the lock, as the server keeps that while it waits for what
 * is still on its way, however long that is where a receiver is cut off. Nor does a plan that is kept from when a table was small read all
 * of a large one.
 */
export const settingsOfWrite = (timeoutMs: number, json: string): Statement => ({
  sql: `
    SELECT ${LIMITS}, set_config('client_min_messages', 'warning', true), set_config('synchronous_commit',
      CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, true),
      set_config('enable_seqscan', 'off', true), set_config('${BATCH}', $2, true) IS NULL`,
  parameters: [String(Math.ceil(timeoutMs)), json],
});

/**
 * Takes the lock that orders all changes, and writes: a batch in which everything is a repeat waits for the standbys too, and so for
 * what it repeats. No row where the tables are of another version. A statement by itself: those after it see what came before the lock.
 */
const takeIds = (count: number): Statement => ({
  sql: `UPDATE inbox SET newest = newest + $1 WHERE ${IS_OF_THIS_VERSION}`, parameters: [String(count)],
});

/** The messages of JSON, numbered from 1 by their `place`. */
const sentIn = (json: string) => `
  sent AS (
    SELECT * FROM ROWS FROM (
      json_to_recordset(${json}) AS (message_id text, "from" text, "to" text, ts text, text text, instant text, received_at bigint)
    ) WITH ORDINALITY AS message(message_id, from_number, to_number, ts, text, instant, received_at, place)
  )`;

/**
 * Its parameters: how many messages there are, and when they came, but for those that say so themselves. It selects the places of what it
 * has stored, from 1, with commas between; NULL where that is all.
 */
export const STORE = `
  WITH ${sentIn(`current_setting('${BATCH}')::json`)}, stored AS (
    INSERT INTO messages(id, message_id, from_number, to_number, ts, text, instant, received_at)
    SELECT newest - $1 + place, message_id, from_number, to_number, ts, text, instant, coalesce(received_at, $2::bigint)
    FROM sent CROSS JOIN inbox WHERE ${IS_OF_THIS_VERSION} AND NOT ${isRemembered('message_id', '$2')} ORDER BY place
    ON CONFLICT (message_id) DO NOTHING
    RETURNING id, from_number, instant, received_at
  ), of_senders AS (
    SELECT from_number, count(*) AS messages FROM stored GROUP BY from_number
  ), counted_senders AS (
    INSERT INTO senders SELECT from_number, messages FROM of_senders ORDER BY from_number
    ON CONFLICT (from_number) DO UPDATE SET messages = senders.messages + excluded.messages
    RETURNING from_number, messages
  ), counted_instants AS (
    INSERT INTO instants SELECT characters, left(instant, characters) AS prefix, count(*)
    FROM stored CROSS JOIN (VALUES (10), (16)) AS lengths(characters) GROUP BY characters, prefix ORDER BY characters, prefix
    ON CONFLICT (characters, prefix) DO UPDATE SET messages = instants.messages + excluded.messages
  ), counted_arrivals AS (
    INSERT INTO arrivals SELECT received_at / ${MS_PER_MINUTE}, count(*) FROM stored WHERE received_at IS NOT NULL GROUP BY 1 ORDER BY 1
    ON CONFLICT (minute) DO UPDATE SET messages = arrivals.messages + excluded.messages
  ), counted AS (
    UPDATE inbox SET messages = messages + (SELECT count(*) FROM stored),
      senders = senders + (SELECT count(*) FROM counted_senders JOIN of_senders USING (from_number, messages))
  )
  SELECT CASE WHEN count(*) < $1 THEN coalesce(string_agg((id - newest + $1)::text, ','), '') END AS places FROM stored CROSS JOIN inbox`;

/**
 * Its parameter: messages as JSON that were there before. It selects the places of those whose first version says the same, or is gone, so
 * that nobody can tell. (OFFSET has the planner look up one by one, and never read the whole table for a few.)
 */
const COMPARE = `
  WITH ${sentIn('$1')}
  SELECT place FROM sent LEFT JOIN LATERAL (SELECT * FROM messages WHERE message_id = sent.message_id OFFSET 0) AS stored ON true
  WHERE stored.id IS NULL OR (stored.from_number, stored.to_number, stored.ts, stored.text)
    IS NOT DISTINCT FROM (sent.from_number, sent.to_number, sent.ts, sent.text)`;

/** Where what a batch of statements selects stands among their results. */
export const APPENDED = { lock: 2, stored: 3 } as const;

export interface Batch {
  readonly messages: readonly Message[];
  /** Milliseconds since 1970. */
  readonly receivedAt: number;
}

/** Stores a batch in one transaction. `isPooled`: nothing is kept in a session. */
export function append({ messages, receivedAt }: Batch, timeoutMs: number, isPooled: boolean): Statement[] {
  const keep = (name: string) => (isPooled ? {} : { name });
  return [
    BEGIN,
    { ...settingsOfWrite(timeoutMs, toJson(messages)), ...keep('settings') },
    { ...takeIds(messages.length), ...keep('lock') },
    { sql: STORE, parameters: [String(messages.length), String(receivedAt)], ...keep('store') },
    { sql: `NOTIFY ${CHANNEL}` },
    COMMIT,
  ];
}

/** Tells the places, from 1, of those repeats that are no conflict. By itself: a first version never changes. */
export const compare = (repeats: readonly Message[], timeoutMs: number): Statement[] =>
  [BEGIN, limitsOf(timeoutMs), { sql: COMPARE, parameters: [toJson(repeats)] }, COMMIT];
export const COMPARED = 2;

/** As STORE takes them. */
export const toJson = (messages: readonly Message[]): string =>
  JSON.stringify(messages.map((message) => ({ ...message, instant: instantOf(message.ts) ?? message.ts })));

/** A durable transaction in the order of all that changes messages; `APPENDED.lock` is where its lock is, too. */
export const change = (statements: readonly Statement[], timeoutMs: number): Statement[] =>
  [BEGIN, settingsOfWrite(timeoutMs, '[]'), takeIds(0), ...statements, COMMIT];
