import type { DatabaseSync, StatementSync } from 'node:sqlite';

/** No row id is larger (https://sqlite.org/autoinc.html). */
export const LAST_ID = 2n ** 63n - 1n;
/** Below every row id but the very least, which nothing gives. */
export const BEFORE_ALL_IDS = -(2n ** 63n);

/** Running a statement tells the last row id too, and throws where it is larger than a JavaScript number is exact, as in some old files. */
export function acceptAnyRowId(statement: StatementSync): void {
  statement.setReadBigInts(true);
}

/** Of such a statement every number that it returns is a bigint. Throws SQLite's errors. */
export function prepareWithAnyRowId(database: DatabaseSync, sql: string): StatementSync {
  const statement = database.prepare(sql);
  acceptAnyRowId(statement);
  return statement;
}
