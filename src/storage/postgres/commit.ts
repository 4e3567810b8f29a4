import { StorageUnavailable } from '../../errors.ts';
import type { StorageObserver } from '../storage.ts';
import type { Connection, Ran, Statement } from './connection.ts';
import { kindOf } from './failures.ts';
import { APPENDED } from './writing-sql.ts';

/** Longer than any server that answers takes; a commit is given up by then. */
export const COMMIT_TIMEOUT_MS = 4000;

/**
 * Runs a transaction that `append` or `change` has made, and resolves with its results once it is durable, here and where it is replicated
 * to. Rejects with StorageUnavailable, and as `run` does.
 */
export async function commit(
  connection: Connection, statements: readonly Statement[], { replicationCut }: Pick<StorageObserver, 'replicationCut'>,
): Promise<Ran['results']> {
  const { results, warnings } = await runAgainOnce(connection, statements);
  if (results.at(-1)?.command !== 'COMMIT') throw new StorageUnavailable('the database failed');
  if (results[APPENDED.lock]?.affected !== 1) throw new StorageUnavailable('the tables are of another version');
  // Such as that the wait for the standby was cut short: committed here, and perhaps nowhere else.
  if (warnings.length > 0) {
    replicationCut();
    throw new StorageUnavailable('the commit was not replicated');
  }
  return results;
}

/** Again at once where the server could not put this transaction in order with others: nothing of it is stored. */
async function runAgainOnce(connection: Connection, statements: readonly Statement[]): Promise<Ran> {
  try {
    return await connection.run(statements, COMMIT_TIMEOUT_MS);
  } catch (error) {
    if (kindOf(error) !== 'retry at once') throw error;
    return await connection.run(statements, COMMIT_TIMEOUT_MS);
  }
}
