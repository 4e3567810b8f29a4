/**
 * Rows that others have written may hold more than TEXT where the service writes nothing else. A value counts as the text that SQLite
 * makes of it (CAST, https://sqlite.org/lang_expr.html#castexpr): digits for a number, for a BLOB its bytes, or where those are no UTF-8
 * its literal, X'…'; NULL, where only a text may be left out, as an empty one. It is stored so once, so that order, filters, counts and
 * answers are all of the same value.
 */
import { isUtf8 } from 'node:buffer';
import type { DatabaseSync } from 'node:sqlite';

/** Columns that hold text; only `text` may hold NULL. */
export const TEXT_COLUMNS = ['message_id', 'from_number', 'to_number', 'ts', 'text'];

/** SQL: a column's value as text. Needs `defineIsUtf8`. */
export function asText(column: string): string {
  const text = `iif(typeof(${column}) = 'blob' AND NOT is_utf8(${column}), quote(${column}), CAST(${column} AS TEXT))`;
  return column === 'text' ? text : `ifnull(${text}, '')`;
}

/** Defines in a connection what the SQL here needs. */
export function defineIsUtf8(database: DatabaseSync): void {
  database.function('is_utf8', { deterministic: true }, (value) => Number(value instanceof Uint8Array && isUtf8(value)));
}

/** SQL that makes a text of every value, to be followed by further conditions on which rows. Only rows that need it are written. */
export const MAKE_TEXTS = `
  UPDATE messages SET ${TEXT_COLUMNS.map((column) => `${column} = ${asText(column)}`).join(', ')}
  WHERE (${TEXT_COLUMNS.map((column) => `typeof(${column}) NOT IN ('text'${column === 'text' ? ", 'null'" : ''})`).join(' OR ')})`;

/**
 * That a message_id is no text yet, as ranges of an index: NULL and numbers come before all texts, BLOBs after
 * (https://sqlite.org/datatype3.html#sort_order).
 */
const RANGES_OF_NO_TEXT = ['message_id IS NULL', "message_id < ''", "message_id >= x''"];

/** Selects a row where two messages would have the same `message_id` as text, whatever the type of its column. Needs `defineIsUtf8`. */
export const SELECT_SAME_AS_TEXT = `
  WITH odd AS MATERIALIZED (
    ${RANGES_OF_NO_TEXT.map((range) => `SELECT ${asText('message_id')} AS as_text FROM messages WHERE ${range}`).join(' UNION ALL ')}
  )
  SELECT 1 FROM odd
  WHERE as_text IN (SELECT +message_id FROM messages) OR as_text IN (SELECT as_text FROM odd GROUP BY 1 HAVING count(*) > 1)
  LIMIT 1`;
