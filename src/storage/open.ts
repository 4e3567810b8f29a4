import type { DatabaseCredentials } from '../config/database-credentials.ts';
import type { Settings } from '../config/settings.ts';
import type { Storage, StorageOptions } from './storage.ts';

export interface OpenOptions extends StorageOptions {
  readonly config: Pick<Settings, 'database' | 'databaseNotify' | 'requireHardened'>;
  /** Those of this moment; null for an embedded database. */
  readonly credentials: () => DatabaseCredentials | null;
}

/**
 * Opens the storage that the configuration names; the code of the other one is never loaded. Throws StartRefused where an operator has to
 * mend something first.
 */
export async function openStorage({ config, credentials, ...options }: OpenOptions): Promise<Storage> {
  const { database, databaseNotify, requireHardened } = config;
  if (database.kind === 'sqlite') {
    const { openSqliteStorage } = await import('./sqlite/adapter.ts');
    return openSqliteStorage({ ...options, path: database.path });
  }
  const { openPostgresStorage } = await import('./postgres/adapter.ts');
  const { targetsOf } = await import('./postgres/targets.ts');
  return openPostgresStorage({
    ...options,
    targets: () => targetsOf(database, credentials() ?? { password: null, tls: null }),
    mayListen: databaseNotify === 'auto',
    requiresStandby: requireHardened === 'everything',
  });
}
