import type { Environment, Reading } from './environment.ts';
import { isPostgresUrl, parsePostgresUrl, type PostgresHost, type TlsFiles } from './postgres-url.ts';

/** Where messages are kept. */
export type DatabaseSettings =
  | { readonly kind: 'sqlite'; readonly path: string }
  | {
    readonly kind: 'postgres';
    /** 1 to 16, to be tried in this order. */
    readonly hosts: readonly PostgresHost[];
    readonly user: string;
    readonly database: string;
    /** False only where each host is loopback or a Unix socket. */
    readonly tls: boolean;
  };

export interface DatabaseUrl {
  readonly settings: DatabaseSettings;
  /** What must not be shown, and what may be renewed; null where there is none. */
  readonly password: string | null;
  readonly tlsFiles: TlsFiles | null;
}

const DEFAULT_DATABASE_URL = '/data/app.db';
const RULE = "the path of a database file, alone or after 'file:' or 'sqlite:///', without parameters and not in memory, " +
  'or postgresql://user@host/name';

/** What DATABASE_URL says, or its problems: they repeat nothing of it but names of parameters. */
export function readDatabaseUrl(environment: Pick<Environment, 'text'>): Reading<DatabaseUrl> {
  const url = environment.text('DATABASE_URL') ?? DEFAULT_DATABASE_URL;
  if (isPostgresUrl(url)) {
    const reading = parsePostgresUrl(url);
    if (!reading.valid) return reading;
    const { hosts, user, database, password, tls } = reading.value;
    return { valid: true, value: { settings: { kind: 'postgres', hosts, user, database, tls: tls !== null }, password, tlsFiles: tls } };
  }
  const path = databasePathOf(url);
  if (path !== undefined) return { valid: true, value: { settings: { kind: 'sqlite', path }, password: null, tlsFiles: null } };
  return { valid: false, problems: [`DATABASE_URL ${url === '' ? 'is set but empty: it must be' : 'must be'} ${RULE}`] };
}

/**
 * The path in a DATABASE_URL of SQLite, or undefined where it is none. `sqlite:///x` is relative and `sqlite:////x` absolute, as
 * SQLAlchemy has it; `file:` follows https://sqlite.org/uri.html. Parameters are refused, because some
 * (`vfs=unix-none`, `mode=memory`, `nolock`) turn durability off without a word.
 */
function databasePathOf(url: string): string | undefined {
  const path = databasePathIn(url);
  const usable = path !== undefined && path !== '' && !/:memory:|^file:/i.test(path) && !/[?#\0]/.test(path) && !path.endsWith('/');
  return usable ? path : undefined;
}

function databasePathIn(url: string): string | undefined {
  if (url.startsWith('sqlite:///')) return url.slice('sqlite:///'.length);
  if (url.startsWith('file:')) return filePathIn(url.slice('file:'.length));
  return /^[a-z][a-z0-9+.-]*:/i.test(url) ? undefined : url;
}

function filePathIn(rest: string): string | undefined {
  const path = rest.replace(/^\/\/(?:localhost)?(?=\/)/, '');
  if (path.startsWith('//')) return undefined;
  // Decoded only after the check for '?', so that an escaped one cannot smuggle a parameter in.
  if (path.includes('?') || path.includes('#')) return undefined;
  try {
    return decodeURIComponent(path);
  } catch {
    return undefined;
  }
}
