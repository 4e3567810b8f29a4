/** SQL that removes messages, and remembers their ids; each step of it for a transaction `inOrder`. */
import { MS_PER_MINUTE } from '../query.ts';
import type { Erasure } from '../storage.ts';
import type { Statement } from './connection.ts';
import { hashOf, IS_OF_THIS_VERSION } from './schema.ts';

/** What is to be removed. `receivedBefore`: milliseconds since 1970. */
export type Removal = Erasure | { readonly receivedBefore: number };

/** Ids of messages: those after the first, up to the last. */
export interface IdRange {
  readonly after: bigint;
  readonly through: bigint;
}

/** Below the id that is the lowest now; no row where there is no message. */
export const BEFORE_LOWEST: Statement = { sql: 'SELECT id - 1 AS id FROM messages ORDER BY id LIMIT 1' };

/** A condition on its first parameter, and in what order an index finds what fulfils it. */
function conditionOf(removal: Removal): { readonly condition: string; readonly value: string; readonly order: string } {
  if ('from' in removal) return { condition: 'from_number = $1', value: removal.from, order: 'instant, message_id' };
  if ('to' in removal) return { condition: 'to_number = $1', value: removal.to, order: 'id' };
  if ('message_id' in removal) return { condition: 'message_id = $1', value: removal.message_id, order: 'message_id' };
  return { condition: 'received_at < $1', value: String(removal.receivedBefore), order: 'received_at' };
}

/** The ids in a range of messages that are to be removed, at most `limit`. Not for a value with a NUL, which no parameter may have. */
export function find(removal: Removal, { after, through }: IdRange, limit: number): Statement {
  const { condition, value, order } = conditionOf(removal);
  return {
    sql: `SELECT id FROM messages WHERE ${condition} AND id > $2 AND id <= $3 ORDER BY ${order} LIMIT $4`,
    parameters: [value, String(after), String(through), String(limit)],
  };
}

/** What a removal is noted under. `at`: milliseconds since 1970. */
export interface ErasureNote {
  readonly requestId: string;
  readonly at: number;
}

/**
 * Takes messages off the counts in a table, and what has none left out of it. `keys`: its columns, each with what it is of a message;
 * `source`: the messages, each as often as it is counted.
 */
function uncount(table: string, keys: Readonly<Record<string, string>>, source = 'gone'): string {
  const columns = Object.keys(keys);
  const isSame = columns.map((column) => `${table}.${column} = of_${table}.${column}`).join(' AND ');
  return `of_${table} AS (
    SELECT ${Object.entries(keys).map(([column, value]) => `${value} AS ${column}`).join(', ')}, count(*) AS messages
    FROM ${source} GROUP BY ${columns.map((_, index) => index + 1).join(', ')}
  ), gone_${table} AS (
    DELETE FROM ${table} USING of_${table} WHERE ${isSame} AND ${table}.messages <= of_${table}.messages RETURNING 1
  ), fewer_${table} AS (
    UPDATE ${table} SET messages = ${table}.messages - of_${table}.messages FROM of_${table}
    WHERE ${isSame} AND ${table}.messages > of_${table}.messages
  )`;
}

const GONE_BY_PREFIXES = 'gone CROSS JOIN (VALUES (10), (16)) AS lengths(characters)';

const NOTE = `noted AS (
    INSERT INTO erasures SELECT $3, $4::bigint, count(*) FROM gone HAVING (SELECT ${IS_OF_THIS_VERSION} FROM inbox)
    ON CONFLICT (request_id) DO UPDATE SET messages = erasures.messages + excluded.messages
  )`;

/** Its parameters: the ids of messages, until when their hashes are kept, and the note. It selects how many it removed. */
const removeSql = (isNoted: boolean) => `
  WITH gone AS (
    DELETE FROM messages WHERE id = ANY($1::bigint[]) AND (SELECT ${IS_OF_THIS_VERSION} FROM inbox)
    RETURNING message_id, from_number, instant, received_at
  ), now_remembered AS (
    INSERT INTO remembered SELECT ${hashOf('message_id')}, $2::bigint FROM gone CROSS JOIN inbox
    ON CONFLICT (hash) DO UPDATE SET until = excluded.until WHERE remembered.until IS NOT NULL
  ), ${uncount('senders', { from_number: 'from_number' })},
  ${uncount('instants', { characters: 'characters', prefix: 'left(instant, characters)' }, GONE_BY_PREFIXES)},
  ${uncount('arrivals', { minute: `received_at / ${MS_PER_MINUTE}` })},
  ${isNoted ? `${NOTE}, ` : ''}counted AS (
    UPDATE inbox SET messages = messages - (SELECT count(*) FROM gone), senders = senders - (SELECT count(*) FROM gone_senders)
  )
  SELECT count(*) AS removed FROM gone`;
const REMOVE = removeSql(false);
const REMOVE_AND_NOTE = removeSql(true);

/** Removes those of some messages that are still there. `until`: milliseconds since 1970; null: their ids are remembered for ever. */
export function remove(ids: readonly string[], until: number | null, note: ErasureNote | null): Statement {
  const parameters = [`{${ids.join()}}`, until === null ? null : String(until)];
  return note === null ? { sql: REMOVE, parameters }
    : { sql: REMOVE_AND_NOTE, parameters: [...parameters, note.requestId, String(note.at)] };
}

/** Whether there are ids that are not to be remembered any more. `now`: milliseconds since 1970. */
export const hasForgettable = (now: number): Statement =>
  ({ sql: 'SELECT EXISTS (SELECT FROM remembered WHERE until < $1) AS has_some', parameters: [String(now)] });

/** Forgets some of them, the first ones, at most `limit`. */
export const forget = (now: number, limit: number): Statement => ({
  sql: `
    DELETE FROM remembered WHERE hash IN (SELECT hash FROM remembered WHERE until < $1 ORDER BY until LIMIT $2)
      AND (SELECT ${IS_OF_THIS_VERSION} FROM inbox)`,
  parameters: [String(now), String(limit)],
});
