/**
 * All SQL that PostgreSQL gets once its tables are there (`schema.ts`), but for a move (`moving-sql.ts`): a look at a server, a batch of
 * messages stored, each read.
 */
import { instantOf, type Message } from '../../message.ts';
import { directionOf, MS_PER_MINUTE, TOP_SENDERS } from '../query.ts';
import type { MessageQuery, Sequence, StoredQuery } from '../storage.ts';
import type { Statement } from './connection.ts';
import { BEGIN, COMMIT, IS_OF_THIS_VERSION, isRemembered } from './schema.ts';

/** What tells whether a server is one to store on, and which it is; all of it may be asked on a standby. */
export const LOOK_AT_SERVER: Statement = {
  sql: `
    SELECT current_setting('transaction_read_only') AS read_only, current_setting('server_version_num') AS version_number,
      current_setting('server_version') AS version, current_setting('server_encoding') AS encoding,
      current_setting('fsync') AS fsync, current_setting('full_page_writes') AS full_page_writes,
      current_setting('synchronous_standby_names') AS synchronous_standbys, pg_backend_pid() AS process_id,
      CASE WHEN pg_is_in_recovery() THEN ''
        ELSE (SELECT system_identifier FROM pg_control_system()) || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8) END AS origin`,
};

/**
 * For a session of our own: it may have nothing to do for long, and the server notices in some 20 seconds that a receiver has vanished, as
 * that may hold the lock that all wait for.
 */
export const KEEP_SESSION: Statement = {
  sql: `
    SELECT set_config('idle_session_timeout', '0', false), set_config('tcp_keepalives_idle', '10', false),
      set_config('tcp_keepalives_interval', '3', false), set_config('tcp_keepalives_count', '3', false)`,
};

/** The channel on which a commit tells of itself. */
export const CHANNEL = 'webhook_inbox';
export const LISTEN: Statement = { sql: `LISTEN ${CHANNEL}` };
export const READ_NEWEST: Statement = { sql: 'SELECT newest FROM inbox' };
/** What has been stored is found in a list at first; to put it into the index takes long, and is nothing to wait for while storing. */
export const CLEAN_TEXT_INDEX: Statement = { sql: "SELECT gin_clean_pending_list('messages_by_text')" };
export const READ_SIZE: Statement = { sql: 'SELECT pg_database_size(current_database()) AS bytes' };

/** For a transaction alone: behind a pooler nothing else holds. Compiling a plan takes longer than any of them is to take. */
const LIMITS = `
  set_config('statement_timeout', $1, true), set_config('idle_in_transaction_session_timeout', $1, true), set_config('jit', 'off', true)`;

const limitsOf = (timeoutMs: number): Statement => ({ sql: `SELECT ${LIMITS}`, parameters: [String(Math.ceil(timeoutMs))] });

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
    FROM sent CROSS JOIN inbox WHERE ${IS_OF_THIS_VERSION} AND NOT ${isRemembered('message_id')} ORDER BY place
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

export const LOOK_AT_READ_ONLY: Statement = { sql: "SELECT current_setting('transaction_read_only') AS read_only" };

/** A durable transaction in the order of all that changes messages; `APPENDED.lock` is where its lock is, too. */
export const change = (statements: readonly Statement[], timeoutMs: number): Statement[] =>
  [BEGIN, settingsOfWrite(timeoutMs, '[]'), takeIds(0), ...statements, COMMIT];

/** Where the row of the version, that of `inbox`, stands among the results of a read; it is missing where they are of another one. */
export const READ_INBOX = 2;

/** Of what `inSnapshot` has made of some statements: the results of those, in their order. */
export const resultsOfReads = <Result>(results: readonly Result[]): Result[] =>
  results.slice(READ_INBOX + 1, -1).filter((_, index) => index % 2 === 1);

/** A limit is for one statement: what those before have taken is taken off. */
const limitRest = (timeoutMs: number): Statement => ({
  sql: `
    SELECT set_config('statement_timeout',
      greatest(1, ceil($1::numeric - 1000 * extract(epoch FROM clock_timestamp() - transaction_timestamp())))::text, true)`,
  parameters: [String(timeoutMs)],
});

/** Also in a transaction that itself only reads. One that was told to take no writes may have a successor already. */
const TAKES_WRITES = "(current_setting('default_transaction_read_only') = 'off' AND NOT pg_is_in_recovery())";

/** Runs statements over one snapshot, behind a look at `inbox`, all of them in `timeoutMs`. */
export function inSnapshot(statements: readonly Statement[], timeoutMs: number): Statement[] {
  return [
    { sql: 'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY' }, limitsOf(timeoutMs),
    { sql: `SELECT newest, messages, senders, ${TAKES_WRITES} AS takes_writes FROM inbox WHERE ${IS_OF_THIS_VERSION}` },
    ...statements.flatMap((statement) => [limitRest(timeoutMs), statement]), COMMIT,
  ];
}

export const COLUMNS = ['message_id', 'from_number', 'to_number', 'ts', 'text', 'received_at', 'id'];

/** Joins conditions, and numbers their parameters. */
function createConditions() {
  const parameters: (string | null)[] = [];
  const conditions: string[] = [];
  return {
    parameters,
    /** Returns how a statement names it. */
    parameter: (value: string) => `$${parameters.push(value)}`,
    require: (condition: string) => void conditions.push(condition),
    where: () => (conditions.length === 0 ? '' : `WHERE ${conditions.join(' AND ')}`),
  };
}

/** A text has no NUL here, and neither is there one after which another could stand: what is behind it makes no difference. */
const beforeNul = (text: string) => text.split('\0', 1)[0] ?? '';

/** ASCII letters in either case, all else exact: `lower` of a text ordered by bytes folds those alone. */
function holding(q: string): string {
  const folded = q.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
  return `%${folded.replace(/[\\%_]/g, '\\$&')}%`;
}

/** Conditions that decide whether a message matches, not where the page begins. */
function matching({ message_id, from, since, q }: Pick<MessageQuery, 'message_id' | 'from' | 'since' | 'q'>) {
  const conditions = createConditions();
  if (message_id !== undefined) conditions.require(`message_id = ${conditions.parameter(message_id)}`);
  if (from !== undefined) conditions.require(`from_number = ${conditions.parameter(from)}`);
  if (since !== undefined) conditions.require(`instant >= ${conditions.parameter(since)}`);
  if (q !== undefined) conditions.require(`lower(text) LIKE ${conditions.parameter(holding(q))}`);
  return conditions;
}

/** How many messages match; the row of `inbox` tells how many there are in all. */
export function countMatching(query: MessageQuery): Statement {
  const { message_id, from, since, q } = query;
  const isSimple = message_id === undefined && q === undefined;
  if (isSimple && since === undefined && from !== undefined) {
    return { sql: 'SELECT coalesce((SELECT messages FROM senders WHERE from_number = $1), 0) AS total', parameters: [from] };
  }
  if (isSimple && from === undefined && since !== undefined) return { sql: COUNT_SINCE, parameters: [since] };
  const { where, parameters } = matching(query);
  return { sql: `SELECT count(*) AS total FROM messages ${where()}`, parameters };
}

/** Nothing that begins like the text before it comes after the two. */
const LAST = `chr(${0x10ffff})`;

/** Of the days behind, of the minutes behind on the same day, and of what is behind in the same minute, one by one. */
const COUNT_SINCE = `
  SELECT
    (SELECT coalesce(sum(messages), 0) FROM instants WHERE characters = 10 AND prefix > left($1, 10))
    + (SELECT coalesce(sum(messages), 0) FROM instants
      WHERE characters = 16 AND prefix > left($1, 16) AND prefix < left($1, 10) || ${LAST})
    + (SELECT count(*) FROM messages WHERE instant >= $1 AND instant < left($1, 16) || ${LAST}) AS total`;

/** More matches than that are walked to in order; fewer are found, and then ordered. */
const FEW_MATCHES = 10_000;

/** The messages of a page, and one more where more follow. */
export function listPage(query: MessageQuery): Statement {
  const { after, limit, offset, q } = query;
  const direction = directionOf(query);
  const conditions = matching(query);
  const count = conditions.where();
  if (after !== undefined) {
    const position = [after.instant, after.message_id].map((part) => conditions.parameter(beforeNul(part))).join(', ');
    conditions.require(`(instant, message_id) ${direction === 'ASC' ? '>' : '<'} (${position})`);
  }
  const order = (table: string) => `ORDER BY ${table}instant ${direction}, ${table}message_id ${direction}`;
  const bounds = `LIMIT ${conditions.parameter(String(limit + 1))} OFFSET ${conditions.parameter(String(offset))}`;
  const keys = `SELECT id, instant, message_id FROM messages ${conditions.where()}`;
  const wanted = q === undefined ? `${keys} ${order('')} ${bounds}` : `
    WITH enough AS MATERIALIZED (SELECT count(*) AS matches FROM (SELECT 1 FROM messages ${count} LIMIT ${FEW_MATCHES + 1}) AS first)
    (${keys} AND (SELECT matches FROM enough) > ${FEW_MATCHES} ${order('')} ${bounds})
    UNION ALL
    (SELECT * FROM (${keys} AND (SELECT matches FROM enough) <= ${FEW_MATCHES} OFFSET 0) AS few
      ${order('')} ${bounds})`;
  return {
    sql: `
      SELECT ${COLUMNS.map((column) => `message.${column}`).join(', ')}, message.instant
      FROM (${wanted}) AS wanted JOIN messages AS message USING (id) ${order('message.')}`,
    parameters: conditions.parameters,
  };
}

export const TOP: Statement = { sql: `SELECT from_number, messages FROM senders ORDER BY messages DESC, from_number LIMIT ${TOP_SENDERS}` };

/** The `ts` of the message that comes first in that direction. */
export const tsAtEnd = (direction: 'ASC' | 'DESC'): Statement =>
  ({ sql: `SELECT ts FROM messages ORDER BY instant ${direction}, message_id ${direction} LIMIT 1` });

export const listArrivals = (sinceMinute: number): Statement =>
  ({ sql: 'SELECT minute, messages FROM arrivals WHERE minute >= $1 ORDER BY minute', parameters: [String(sinceMinute)] });

/** How far the next rows go that are to be looked at: the last id of them, and how many those are. */
export const endOfNext = (after: Sequence, most: number): Statement => ({
  sql: 'SELECT max(id) AS last, count(*) AS looked_at FROM (SELECT id FROM messages WHERE id > $1 ORDER BY id LIMIT $2) AS next',
  parameters: [after, String(most)],
});

/** Those of them that match, in the order of storing. */
export function listStored({ after, limit, ...filter }: StoredQuery, most: number): Statement {
  const conditions = matching(filter);
  const begin = conditions.parameter(after);
  conditions.require(`id > ${begin}`);
  const next = `SELECT id FROM messages WHERE id > ${begin} ORDER BY id LIMIT ${conditions.parameter(String(most))}`;
  conditions.require(`id <= (SELECT max(id) FROM (${next}) AS next)`);
  return {
    sql: `SELECT ${COLUMNS.join(', ')} FROM messages ${conditions.where()} ORDER BY id LIMIT ${conditions.parameter(String(limit))}`,
    parameters: conditions.parameters,
  };
}

/** Whether a sequence of a generation still means the same; no row where the generation is not known. A sequence can be of any size. */
export const holds = (generation: string, sequence: Sequence): Statement => ({
  sql: `
    SELECT $1::numeric <= coalesce(
      (SELECT begins_after FROM generations AS next WHERE next.number > own.number ORDER BY next.number LIMIT 1),
      (SELECT newest FROM inbox)
    ) AS holds FROM generations AS own WHERE generation = $2`,
  parameters: [sequence, generation],
});
