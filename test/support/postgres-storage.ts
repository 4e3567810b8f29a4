import { openPostgresStorage, type PostgresStorageOptions } from '../../src/storage/postgres/adapter.ts';
import type { Target } from '../../src/storage/postgres/connection.ts';
import type { Storage, StorageObserver } from '../../src/storage/storage.ts';
import { NOT_LISTENING } from './storage.ts';
import type { Scope } from './temporary.ts';
import { PATIENCE_MS } from './wait.ts';

export interface PostgresTestOptions extends Partial<Omit<PostgresStorageOptions, 'observer'>> {
  readonly observer?: Partial<StorageObserver>;
}

/** Opens a storage on the servers and closes it after the test. */
export async function openOn(scope: Scope, targets: readonly Target[], { observer = {}, ...options }: PostgresTestOptions = {}): Promise<Storage> {
  const storage = await openPostgresStorage({
    targets: () => targets, mayListen: true, requiresStandby: false, queryTimeoutMs: PATIENCE_MS, now: Date.now, ...options,
    observer: { ...NOT_LISTENING, ...observer },
  });
  scope.after(() => storage.close());
  return storage;
}
