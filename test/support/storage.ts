import { openSqliteStorage } from '../../src/storage/sqlite/adapter.ts';
import type { Storage, StorageObserver, StorageOptions } from '../../src/storage/storage.ts';
import type { Scope } from './temporary.ts';
import { PATIENCE_MS, waitFor } from './wait.ts';

/** Nothing expires. */
export const NO_RETENTION = { keepMs: null, rememberMs: 0 };

/** Tells nobody. */
export const NOT_LISTENING: StorageObserver = { batchCommitted() {}, arrived() {}, failedOver() {}, replicationCut() {}, notice() {}, failing() {} };

type Options = Partial<Pick<StorageOptions, 'now' | 'retention'>>;

/** Opens an SQLite storage and closes it after the test, and does not wait for its read index. */
export async function openTestStorageAtOnce(
  scope: Scope, path: string, observer: Partial<StorageObserver> = {}, options: Options = {},
): Promise<Storage> {
  const storage = await openSqliteStorage({
    path, queryTimeoutMs: PATIENCE_MS, now: Date.now, retention: NO_RETENTION, observer: { ...NOT_LISTENING, ...observer }, ...options,
  });
  scope.after(() => storage.close());
  return storage;
}

/** Resolves once reads can use its read index, or it is known why they cannot: a busy machine makes that later than it is open. */
export async function whenReadable(storage: Storage): Promise<Storage> {
  await waitFor('the read index', () => !storage.degraded().join().startsWith('the read index is being made'));
  return storage;
}

/** Opens an SQLite storage once it is readable, and closes it after the test. */
export const openTestStorage: typeof openTestStorageAtOnce = async (...options) => whenReadable(await openTestStorageAtOnce(...options));
