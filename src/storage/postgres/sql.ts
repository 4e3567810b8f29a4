/**
 * SQL that PostgreSQL gets once its tables are there (`schema.ts`), but for what changes messages (`writing-sql.ts`, `removal-sql.ts`) and
 * a move (`moving-sql.ts`): a look at a server, each read.
 */
import { directionOf, TOP_SENDERS } from '../query.ts';
import type { MessageQuery, Sequence, StoredQuery } from '../storage.ts';
import type { Statement } from './connection.ts';
import { COMMIT, IS_OF_THIS_VERSION } from './schema.ts';

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
export const LIMITS = `
  set_config('statement_timeout', $1, true), set_config('idle_in_transaction_session_timeout', $1, true), set_config('jit', 'off', true)`;

export const limitsOf = (timeoutMs: number): Statement => ({ sql: `SELECT ${LIMITS}`, parameters: [String(Math.ceil(timeoutMs))] });

export const LOOK_AT_READ_ONLY: Statement = { sql: "SELECT current_setting('transaction_read_only') AS read_only" };

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
