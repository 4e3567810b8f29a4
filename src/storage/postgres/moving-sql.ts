/** The SQL of a move. */
import type { MovedMessage } from '../move/sides.ts';
import type { Sequence } from '../storage.ts';
import type { Statement } from './connection.ts';
import { BEGIN, COMMIT } from './schema.ts';
import { COLUMNS } from './sql.ts';
import { settingsOfWrite, STORE, toJson } from './writing-sql.ts';

/** After what is on its way: who had sent that may be gone. */
export const COUNT_STORED: readonly Statement[] = [
  BEGIN, { sql: 'SELECT 1 FROM inbox FOR UPDATE' }, COMMIT,
  { sql: 'SELECT newest, (SELECT count(*) FROM messages) AS messages FROM inbox' },
];
/** Where the count stands among their results. */
export const COUNTED = 3;

/**
 * The next messages in the order of storing, with when they came: `most` at most, and none behind those whose texts have `mostBytes`
 * bytes together.
 */
export const listKept = (after: Sequence, most: number, mostBytes: number): Statement => ({
  sql: `
    SELECT ${COLUMNS.join(', ')}
    FROM (
      SELECT *, sum(octet_length(text)) OVER (ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
      FROM (SELECT * FROM messages WHERE id > $1 ORDER BY id LIMIT $2) AS next
    ) AS measured
    WHERE bytes_before IS NULL OR bytes_before < $3 ORDER BY id`,
  parameters: [after, String(most), String(mostBytes)],
});

/** Where the rows of what was not there before stand among the results of `takeOver`. */
export const TAKEN_OVER = 3;

/**
 * Stores what was stored elsewhere, in one transaction. Refused (23502) where the id given out last is not `newest`, as somebody else has
 * stored meanwhile.
 */
export function takeOver(moved: readonly MovedMessage[], newest: number, timeoutMs: number): Statement[] {
  const json = toJson(moved.map(({ message, received_at }) => ({ ...message, received_at })));
  const count = String(moved.length);
  return [
    BEGIN, settingsOfWrite(timeoutMs, json),
    { sql: 'UPDATE inbox SET newest = CASE WHEN newest = $1 THEN newest + $2 END', parameters: [String(newest), count] },
    { sql: STORE, parameters: [count, null] },
    COMMIT,
  ];
}
