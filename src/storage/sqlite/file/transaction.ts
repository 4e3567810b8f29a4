import type { DatabaseSync } from 'node:sqlite';

/** A failing insert can leave the transaction open, so every failure rolls back. Where even that fails it stays open. */
export function inTransaction<Result>(database: DatabaseSync, work: () => Result): Result {
  try {
    database.exec('BEGIN IMMEDIATE');
    const result = work();
    database.exec('COMMIT');
    return result;
  } catch (error) {
    if (database.isTransaction) rollBack(database);
    throw error;
  }
}

function rollBack(database: DatabaseSync): void {
  try {
    database.exec('ROLLBACK');
  } catch {
    // The failure that led here is the one to report.
  }
}
