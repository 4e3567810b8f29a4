import { openPostgresStorage, type PostgresStorageOptions } from '../../src/storage/postgres/adapter.ts';
import type { Target } from '../../src/storage/postgres/connection.ts';
import type { Message } from '../../src/message.ts';
import type { AppendOutcome, Storage, StorageObserver } from '../../src/storage/storage.ts';
import { NO_RETENTION, NOT_LISTENING } from './storage.ts';
import type { Scope } from './temporary.ts';
import { PATIENCE_MS, waitFor } from './wait.ts';

export interface PostgresTestOptions extends Partial<Omit<PostgresStorageOptions, 'observer'>> {
  readonly observer?: Partial<StorageObserver>;
}

/** Opens a storage on the servers and closes it after the test. Where none is there in a moment, as on a busy machine, it goes on to look for one. */
export async function openOnAtOnce(scope: Scope, targets: readonly Target[], { observer = {}, ...options }: PostgresTestOptions = {}): Promise<Storage> {
  const storage = await openPostgresStorage({
    targets: () => targets, mayListen: true, requiresStandby: false, queryTimeoutMs: PATIENCE_MS, now: Date.now, retention: NO_RETENTION, ...options,
    observer: { ...NOT_LISTENING, ...observer },
  });
  scope.after(() => storage.close());
  return storage;
}

/** The same, once it has found a server. */
export const openOn: typeof openOnAtOnce = async (...options) => {
  const storage = await openOnAtOnce(...options);
  await waitFor('a server', () => storage.engine().isConnected);
  return storage;
};

/** As a sender does: again until it is acknowledged. Then 'duplicate' may be the first one, too, whose acknowledgement did not come in time. */
export const appendSurely = (storage: Storage, message: Message): Promise<AppendOutcome> =>
  waitFor('an acknowledgement', () => storage.append(message).catch(() => undefined));
