import type { DatabaseCredentials } from '../../config/database-credentials.ts';
import type { DatabaseSettings } from '../../config/database-url.ts';
import type { Target } from './connection.ts';

/** The servers of a DATABASE_URL, in its order, with credentials of this moment. */
export function targetsOf(
  { hosts, user, database }: Extract<DatabaseSettings, { kind: 'postgres' }>, { password, tls }: DatabaseCredentials,
): Target[] {
  return hosts.map(({ host, port }) => ({ host, port, user, database, password, tls: host.startsWith('/') ? null : tls }));
}
