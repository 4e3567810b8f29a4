import { openSqliteStorage } from '../../src/storage/sqlite/adapter.ts';
import type { Storage, StorageObserver, StorageOptions } from '../../src/storage/storage.ts';
import type { Scope } from './temporary.ts';
import { PATIENCE_MS } from './wait.ts';

/** Nothing expires. */
export const NO_RETENTION = { keepMs: null, rememberMs: 0 };

/** Tells nobody. */
export const NOT_LISTENING: StorageObserver = { batchCommitted() {}, arrived() {}, failedOver() {}, replicationCut() {}, notice() {}, failing() {} };

/** Opens an SQLite storage and closes it after the test. */
export async function openTestStorage(
  scope: Scope, path: string, observer: Partial<StorageObserver> = {}, options: Partial<Pick<StorageOptions, 'now' | 'retention'>> = {},
): Promise<Storage> {
  const storage = await openSqliteStorage({
    path, queryTimeoutMs: PATIENCE_MS, now: Date.now, retention: NO_RETENTION, observer: { ...NOT_LISTENING, ...observer }, ...options,
  });
  scope.after(() => storage.close());
  return storage;
}
