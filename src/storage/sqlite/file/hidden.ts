/**
 * Which messages are hidden: in no answer any more, while what is left of them is removed.
 *
 * - Expired ones: those with an id from `inbox.expired_after` (not included) to `inbox.expired_through`, but for those that are
 *   undated, which have no time of receipt and so never expire (`inbox.undated`: how many of these lie there), and for erased ones.
 * - Erased ones: those in the table `hidden`, numbered in the order in which they were erased.
 *
 * A message is hidden once, in one way, and stays so until its row is gone. `inbox.vanished` counts all that ever were, and numbers
 * those that are erased. Of both, the last one whose row is gone is `inbox.expired_removed` (an id) and `inbox.erased_removed` (a number).
 */
import type { DatabaseSync } from 'node:sqlite';

/** SQL: whether the message of an id is expired and not removed; `schema`: that of the messages. */
const isExpired = (id: string, schema: string) => `(
  ${id} > (SELECT expired_after FROM ${schema}.inbox) AND ${id} <= (SELECT expired_through FROM ${schema}.inbox))`;

const isDated = (id: string, schema: string) => `(SELECT received_at FROM ${schema}.messages AS own WHERE own.id = ${id}) IS NOT NULL`;
const isErased = (id: string, schema: string) => `${id} IN (SELECT id FROM ${schema}.hidden)`;

/** In what ways messages are hidden at a moment: a condition that none needs costs nothing. */
export interface HiddenNow {
  readonly areExpired: boolean;
  /** Among the ids of those. */
  readonly areUndated: boolean;
  readonly areErased: boolean;
}

/** SQL that selects how messages are hidden, each column 0 or 1. */
export const selectHiddenNow = (schema: string) => `
  SELECT expired_through > expired_after AS are_expired, undated > 0 AS are_undated,
    EXISTS (SELECT 1 FROM ${schema}.hidden) AS are_erased
  FROM ${schema}.inbox`;

/** SQL that is true of a message that is not hidden. `id`: SQL of its id. */
export function isVisible(id: string, now: HiddenNow, schema = 'main'): string {
  const dated = now.areUndated ? ` AND ${isDated(id, schema)}` : '';
  return [
    ...(now.areExpired ? [`NOT (${isExpired(id, schema)}${dated})`] : []),
    ...(now.areErased ? [`NOT (${isErased(id, schema)})`] : []),
  ].join(' AND ') || 'true';
}

/** For statements that are true at any moment. */
export const IN_ANY_WAY: HiddenNow = { areExpired: true, areUndated: true, areErased: true };

/** The same of a file as it is, which may be of a schema in which none is hidden, or a part of a dump. Throws SQLite's errors. */
export function readHiddenNow(database: DatabaseSync): HiddenNow {
  const areErased = database.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'hidden'").get() !== undefined;
  const mayBeExpired = database.prepare("SELECT 1 FROM pragma_table_info('inbox') WHERE name = 'expired_after'").get() !== undefined;
  const expired = mayBeExpired
    ? database.prepare('SELECT expired_through > expired_after AS are_expired, undated > 0 AS are_undated FROM inbox').get()
    : undefined;
  return { areExpired: expired?.['are_expired'] === 1, areUndated: expired?.['are_undated'] === 1, areErased };
}

/** SQL: how many messages are not hidden, by looking at all. */
export const countVisible = (schema = 'main') => `(
  SELECT count(*) FROM ${schema}.messages WHERE ${isVisible('messages.id', IN_ANY_WAY, schema)})`;

/** SQL: the ids of messages that are expired and not removed, as a condition on `messages`, and beyond the id `after`. */
export const isExpiredRow = (schema: string, after: string) => `
  messages.id > max(${after}, (SELECT expired_after FROM ${schema}.inbox))
  AND messages.id <= (SELECT expired_through FROM ${schema}.inbox)
  AND received_at IS NOT NULL AND messages.id NOT IN (SELECT id FROM ${schema}.hidden)`;
