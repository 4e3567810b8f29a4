import { StartRefused, StorageUnavailable, type UnavailableReason } from '../../errors.ts';
import { isRefusedLogin, kindOf, PostgresError } from './failures.ts';

/** https://www.postgresql.org/docs/current/errcodes-appendix.html */
const TOO_MANY_CONNECTIONS = '53300';
const QUERY_CANCELED = '57014';

/** What a failure means to the service, in words that may be shown. An error that is already a StorageUnavailable keeps its reason. */
export function reasonOf(error: unknown): UnavailableReason {
  if (error instanceof StorageUnavailable) return error.reason;
  if (error instanceof StartRefused) return 'PostgreSQL has to be changed first, as the log says';
  if (isRefusedLogin(error)) return 'PostgreSQL refuses the login';
  if (error instanceof PostgresError && error.sqlstate === TOO_MANY_CONNECTIONS) return 'PostgreSQL has no connection left';
  if (error instanceof PostgresError && error.sqlstate === QUERY_CANCELED) return 'the storage does not answer';
  const kind = kindOf(error);
  switch (kind) {
    case 'outcome unknown': return 'the outcome of the commit is not known';
    case 'connection ends': return 'PostgreSQL does not answer';
    case 'read-only': return 'no PostgreSQL server takes writes';
    case 'disk full': return 'the disk is full';
    case 'retry at once':
    case 'other': return 'the database failed';
    default: return kind satisfies never;
  }
}
