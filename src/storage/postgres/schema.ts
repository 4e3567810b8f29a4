/** The tables that PostgreSQL keeps messages in, and which history they are of. */
import type { Statement } from './connection.ts';

/** Each statement sees what was committed before it, whatever a session has by default. */
export const BEGIN: Statement = { sql: 'BEGIN ISOLATION LEVEL READ COMMITTED' };
export const COMMIT: Statement = { sql: 'COMMIT' };

/** A receiver works with its own version alone, and every transaction looks. */
export const SCHEMA_VERSION = 1;
/** SQL that is true of the row of `inbox`. */
export const IS_OF_THIS_VERSION = `schema_version = ${SCHEMA_VERSION}`;

/**
 * What a database has to have (also in `scripts/postgres/schema.sql`, for an owner to run it). All texts are ordered by bytes.
 *
 * - `messages`: `id` is the order of storing, without gaps but for repeats; `instant` what messages are ordered by (`instantOf`);
 *   `received_at` a receiver's time in milliseconds since 1970.
 * - `inbox`, one row: the id given out last, and how many messages and senders there are. Whoever stores locks it first, and has it until
 *   its commit: so ids are in the order of commits, and a reader that follows them skips none.
 * - `senders`, `arrivals`: messages by sender, and by the minute since 1970 in which they came. `instants`: by the first 10 characters of
 *   their `instant`, a day, and by the first 16, a minute.
 * - `generations`: a row each time that the server is another one than before, or was promoted or restored (`origin`): its random name,
 *   and the newest id of before it. A position that was handed out in an earlier one holds up to there.
 * - `remembered`: the ids of messages that were removed, as `hashOf` writes them, and in milliseconds since 1970 until when that is to be
 *   known; null: for ever. The two keys in `inbox`, which are made with it, are those of HMAC (RFC 2104), K XOR ipad and K XOR opad.
 * - `erasures`: who had messages erased, as the id of the request, when, and how many.
 */
export const CREATE_TABLES: readonly string[] = [
  `CREATE TABLE messages(
  id bigint PRIMARY KEY,
  message_id text COLLATE "C" NOT NULL UNIQUE,
  from_number text COLLATE "C" NOT NULL,
  to_number text COLLATE "C" NOT NULL,
  ts text COLLATE "C" NOT NULL,
  text text COLLATE "C",
  instant text COLLATE "C" NOT NULL,
  received_at bigint
)`,
  'CREATE INDEX messages_by_instant ON messages(instant, message_id) INCLUDE (id)',
  'CREATE INDEX messages_by_sender ON messages(from_number, instant, message_id) INCLUDE (id)',
  'CREATE INDEX messages_by_receipt ON messages(received_at)',
  `CREATE TABLE senders(
  from_number text COLLATE "C" PRIMARY KEY,
  messages bigint NOT NULL
) WITH (fillfactor = 70)`,
  'CREATE INDEX senders_by_messages ON senders(messages DESC, from_number)',
  `CREATE TABLE instants(
  characters smallint,
  prefix text COLLATE "C",
  messages bigint NOT NULL,
  PRIMARY KEY (characters, prefix)
) WITH (fillfactor = 70)`,
  'CREATE TABLE arrivals(minute bigint PRIMARY KEY, messages bigint NOT NULL) WITH (fillfactor = 70)',
  `CREATE TABLE generations(
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  generation text COLLATE "C" NOT NULL UNIQUE,
  origin text NOT NULL,
  begins_after bigint NOT NULL
)`,
  `CREATE TABLE inbox(
  only_row smallint PRIMARY KEY CHECK (only_row = 1),
  schema_version integer NOT NULL,
  newest bigint NOT NULL,
  messages bigint NOT NULL,
  senders bigint NOT NULL,
  id_inner_key bytea NOT NULL,
  id_outer_key bytea NOT NULL
) WITH (fillfactor = 10)`,
  `INSERT INTO inbox
  WITH random AS MATERIALIZED (
    SELECT sha256(convert_to(concat(gen_random_uuid(), gen_random_uuid(), gen_random_uuid()), 'UTF8'))
      || decode(repeat('00', 32), 'hex') AS key
  )
  SELECT 1, ${SCHEMA_VERSION}, 0, 0, 0,
    string_agg(set_byte(decode('00', 'hex'), 0, get_byte(key, place) # 54), '' ORDER BY place),
    string_agg(set_byte(decode('00', 'hex'), 0, get_byte(key, place) # 92), '' ORDER BY place)
  FROM random CROSS JOIN generate_series(0, 63) AS place`,
  'CREATE TABLE remembered(hash bytea PRIMARY KEY, until bigint)',
  'CREATE INDEX remembered_by_until ON remembered(until) WHERE until IS NOT NULL',
  'CREATE TABLE erasures(request_id text COLLATE "C" PRIMARY KEY, at bigint NOT NULL, messages bigint NOT NULL)',
];

/** SQL that makes HMAC-SHA256 of a `message_id`, where the row of `inbox` is at hand. Without its key nobody can tell an id from it. */
export const hashOf = (messageId: string): string =>
  `sha256(id_outer_key || sha256(id_inner_key || convert_to(${messageId}, 'UTF8')))`;

/**
 * SQL that is true of the id of a message that was removed and is to be known at a time, where the row of `inbox` is at hand. (OFFSET:
 * looked up one by one.)
 */
export const isRemembered = (messageId: string, now: string): string =>
  `EXISTS (SELECT FROM remembered WHERE hash = ${hashOf(messageId)} AND (until IS NULL OR until >= ${now}) OFFSET 0)`;

/** Where an extension can be had that its owner may create: a search then finds its candidates in an index. */
export const CREATE_TEXT_INDEX: readonly string[] = [
  'CREATE EXTENSION IF NOT EXISTS pg_trgm',
  'CREATE INDEX messages_by_text ON messages USING gin (lower(text) gin_trgm_ops)',
];

/** Held while the tables are made, so that of several receivers one makes them. */
export const LOCK_SCHEMA: Statement = { sql: "SELECT pg_advisory_xact_lock(hashtext('webhook-inbox schema'))" };

const oidOf = (name: string) => `(SELECT oid FROM pg_class WHERE relname = '${name}' AND pg_table_is_visible(oid))`;

/** What is there of them, by its oid. (Not by to_regclass: behind a lock that may remember what it has found before.) */
export const LOOK_AT_TABLES: Statement = {
  sql: `SELECT ${oidOf('inbox')} AS inbox, ${oidOf('messages')} AS messages, ${oidOf('messages_by_text')} AS text_index`,
};

/** The name of the generation of an origin, where that is the newest one, and when the newest message came. */
export const readInbox = (origin: string): Statement => ({
  sql: `
    SELECT schema_version, (SELECT received_at FROM messages ORDER BY id DESC LIMIT 1) AS last_received_at,
      (SELECT CASE WHEN origin = $1 THEN generation END FROM generations ORDER BY number DESC LIMIT 1) AS generation
    FROM inbox`,
  parameters: [origin],
});

/**
 * For a transaction: begins a generation named `name` where the newest one is of another origin, and last selects the newest one. It waits
 * for no standby: where it is lost in a failover, so is all that was handed out in it, and until then there are reads.
 */
export function enterGeneration(name: string, origin: string): Statement[] {
  return [
    { sql: "SELECT set_config('synchronous_commit', 'local', true)" },
    { sql: 'SELECT 1 FROM inbox FOR UPDATE' },
    {
      sql: `
        INSERT INTO generations(generation, origin, begins_after) SELECT $1::text, $2::text, newest FROM inbox
        WHERE $2::text IS DISTINCT FROM (SELECT origin FROM generations ORDER BY number DESC LIMIT 1)`,
      parameters: [name, origin],
    },
    { sql: 'SELECT generation FROM generations ORDER BY number DESC LIMIT 1' },
  ];
}
