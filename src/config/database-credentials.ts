import { getCACertificates } from 'node:tls';
import { readDatabaseUrl } from './database-url.ts';
import type { Environment } from './environment.ts';
import { checkAuthorities, checkIdentity, type Identity } from './pem.ts';
import type { TlsFiles } from './postgres-url.ts';
import type { Secrets } from './secrets.ts';

/** What proves to a PostgreSQL who speaks, and the other way round. */
export interface DatabaseCredentials {
  /** Null where there is none: a client certificate or the server's own rules then have to do. */
  readonly password: string | null;
  /** Null where DATABASE_URL has no TLS. */
  readonly tls: TlsOptions | null;
}

/** Whom to trust and what to show over TLS, all in PEM. */
export interface TlsOptions {
  /** Who must have issued the server's certificate; null for those that Node.js trusts. */
  readonly ca: string | null;
  /** The client's own certificate and its key; null where it shows none. */
  readonly identity: Identity | null;
}

const NAME = 'DATABASE_PASSWORD';
/** The server alone can try one, and it has its own rules. */
const LEAST_PASSWORD_BYTES = 1;
const TLS_NAMES: Identity = { certificate: "DATABASE_URL's sslcert", key: "DATABASE_URL's sslkey" };
const ROOT_NAME = "DATABASE_URL's sslrootcert";
/** As libpq has it since PostgreSQL 16. */
const SYSTEM_ROOTS = 'system';

/** Reads the password, and the files that DATABASE_URL names. Null where it is one of SQLite, or with a problem. */
export function readDatabaseCredentials(environment: Environment, secrets: Secrets): DatabaseCredentials | null {
  const password = secrets.read(NAME, LEAST_PASSWORD_BYTES);
  const reading = readDatabaseUrl(environment);
  // What is wrong with it was said where the settings were read.
  if (!reading.valid) return null;
  const { settings, password: passwordInUrl, tlsFiles } = reading.value;
  const setName = [NAME, `${NAME}_FILE`].find(environment.isSet);
  if (settings.kind === 'sqlite') {
    if (setName !== undefined) environment.problems.push(`${setName} is set, and DATABASE_URL is the path of a file: do not set it`);
    return null;
  }
  if (passwordInUrl !== null) {
    secrets.isMeant("DATABASE_URL's password", passwordInUrl, LEAST_PASSWORD_BYTES);
    if (setName !== undefined) environment.problems.push(`${setName} is set, and DATABASE_URL has a password: keep one of them`);
  }
  return { password: password ?? passwordInUrl, tls: tlsFiles && readTlsFiles(environment, tlsFiles) };
}

function readTlsFiles(environment: Environment, { rootCertificate, identity }: TlsFiles): TlsOptions {
  const refuse = (problem: string) => {
    environment.problems.push(problem);
    return null;
  };
  const read = (path: string, name: string) => environment.fileAt(path, name)?.toString() ?? null;
  const readRoots = (path: string) => {
    if (path === SYSTEM_ROOTS) return systemRoots() ?? refuse(`${ROOT_NAME} is system, which has no certificates: name a file of them`);
    const certificates = read(path, ROOT_NAME);
    return certificates === null ? null : checkAuthorities(certificates, ROOT_NAME, refuse);
  };
  const readIdentity = (paths: Identity) => {
    const certificate = read(paths.certificate, TLS_NAMES.certificate);
    const key = read(paths.key, TLS_NAMES.key);
    if (certificate === null || key === null) return null;
    return checkIdentity({ certificate, key }, TLS_NAMES, refuse) === null ? null : { certificate, key };
  };
  return { ca: rootCertificate && readRoots(rootCertificate), identity: identity && readIdentity(identity) };
}

/** The operating system's, each once; null where it has none. Node.js reads them once in the life of the process. */
function systemRoots(): string | null {
  const certificates = new Set(getCACertificates('system'));
  return certificates.size === 0 ? null : [...certificates].join('\n');
}
