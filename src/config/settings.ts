import { LOG_LEVELS, type LogLevel } from '../observe/log.ts';
import { readDatabaseUrl, type DatabaseSettings } from './database-url.ts';
import type { Environment } from './environment.ts';

export const SIGNATURE_SCHEMES = ['x-signature', 'standard-webhooks'] as const;
/** How a sender signs: `X-Signature` (`http/README.md`, POST /webhook), or Standard Webhooks 1.0.0. */
export type SchemeName = (typeof SIGNATURE_SCHEMES)[number];

/** What the service is told from outside and keeps until it ends. */
export interface Settings {
  readonly database: DatabaseSettings;
  /** Whether receivers of one PostgreSQL tell each other of new messages by NOTIFY where they can, or only look once a second. */
  readonly databaseNotify: DatabaseNotify;
  readonly logLevel: LogLevel;
  readonly metricsEnabled: boolean;
  readonly host: string;
  /** 0 lets the system pick a free port. */
  readonly port: number;
  /** Where everything but the webhook is served; null: at `host` and `port` too. */
  readonly privateSide: Address | null;
  /** Names in lower case under which messages are shown without a token; one that begins with a dot stands for all below it too. */
  readonly allowedHosts: readonly string[];
  /** Null: plain HTTP. The private side is plain HTTP in any case. */
  readonly tls: { readonly requiresClientCertificate: boolean } | null;
  /** The accepted ones, at least one, none twice. */
  readonly signatureSchemes: readonly SchemeName[];
  /** Largest difference between a signed time and now, either way, in seconds. */
  readonly signatureToleranceSeconds: number;
  /** Whether to refuse to start where a wall is missing: of the container, or also a guard of this configuration. */
  readonly requireHardened: RequiredHardening;
  /** Largest accepted webhook body in bytes. */
  readonly maxBodyBytes: number;
  /** Connections open at the same time on each port; past it one of the client that has most of them makes room. */
  readonly maxConnections: number;
  /** Longest time for the head of a request to arrive, and for a TLS handshake, in milliseconds. */
  readonly headerTimeoutMs: number;
  /** Longest time for a whole request to arrive, and for its answer to be taken, in milliseconds. */
  readonly requestTimeoutMs: number;
  /** Longest time that a connection stays open between requests, in milliseconds. */
  readonly idleTimeoutMs: number;
  /** Readers of the live stream at the same time. */
  readonly maxStreams: number;
  readonly dashboardEnabled: boolean;
  /** Longest time for a read, waiting included, in milliseconds. */
  readonly queryTimeoutMs: number;
  /** Messages that were received longer ago vanish, in days; null: none do. */
  readonly retentionDays: number | null;
  /** For so many days after that their ids are known. */
  readonly dedupDays: number;
  /** From SIGTERM on, how long the service still takes what comes while it says that it is not ready, in milliseconds. */
  readonly shutdownDelayMs: number;
  /** Longest time from then to the end of the process, in milliseconds. */
  readonly shutdownTimeoutMs: number;
}

export type RequiredHardening = 'nothing' | 'container' | 'everything';

const DATABASE_NOTIFY = ['auto', 'off'] as const;
export type DatabaseNotify = (typeof DATABASE_NOTIFY)[number];

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** No valid message needs more than 64 KB; parsing takes many times the size in memory. */
export const LARGEST_MAX_BODY_BYTES = 16 * 1024 * 1024;
const LARGEST_MAX_CONNECTIONS = 100_000;
const LARGEST_MAX_STREAMS = 10_000;
const LARGEST_TIMEOUT_MS = 10 * 60 * 1000;
/** Some load balancers want theirs to be the shorter one, at up to 10 minutes. */
const LARGEST_IDLE_TIMEOUT_MS = 60 * 60 * 1000;
const LARGEST_TOLERANCE_SECONDS = 24 * 60 * 60;
const LARGEST_PORT = 65535;
const LARGEST_DAYS = 36_500;

const HOST_OR_SUFFIX = /^\.?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*$/;

const SWITCH_WORDS = new Map([
  ['true', true], ['1', true], ['yes', true], ['on', true],
  ['false', false], ['0', false], ['no', false], ['off', false],
]);

const HARDENING_WORDS = new Map<string, RequiredHardening>([
  ['container', 'container'],
  ...[...SWITCH_WORDS].map(([word, isOn]): [string, RequiredHardening] => [word, isOn ? 'everything' : 'nothing']),
]);

/** Reads all settings (README, Configuration). Where the environment has problems then, what is returned must not be used. */
export function readSettings(environment: Environment): Settings {
  const { read, wholeNumber } = environment;
  const milliseconds = (name: string, fallback: number) => wholeNumber(name, fallback, 1, LARGEST_TIMEOUT_MS);
  const host = (name: string, fallback: string) =>
    read(name, fallback, 'an address or host name to listen on', (text) => (/\s/.test(text) ? undefined : text));
  const settings: Settings = {
    ...readDatabase(environment),
    logLevel: read('LOG_LEVEL', 'INFO', `one of ${LOG_LEVELS.join(', ')}`, (text) =>
      LOG_LEVELS.find((level) => level === text.toUpperCase())),
    metricsEnabled: read('ENABLE_METRICS', true, 'true or false', (text) => SWITCH_WORDS.get(text.toLowerCase())),
    dashboardEnabled: read('ENABLE_DASHBOARD', true, 'true or false', (text) => SWITCH_WORDS.get(text.toLowerCase())),
    host: host('HOST', '0.0.0.0'),
    port: wholeNumber('PORT', 8000, 0, LARGEST_PORT),
    privateSide: isSetFor(environment, 'PRIVATE_PORT', ['PRIVATE_HOST'])
      ? { host: host('PRIVATE_HOST', '127.0.0.1'), port: wholeNumber('PRIVATE_PORT', 0, 0, LARGEST_PORT) }
      : null,
    allowedHosts: read<readonly string[]>('ALLOWED_HOSTS', [],
      'host names without ports, with commas between them; .example.com stands for it and all below it', parseHosts),
    tls: readTls(environment),
    signatureSchemes: read<readonly SchemeName[]>(
      'SIGNATURE_SCHEMES', ['x-signature'], `one or both of ${SIGNATURE_SCHEMES.join(',')}`, parseSchemes),
    signatureToleranceSeconds: wholeNumber('SIGNATURE_TOLERANCE_SECONDS', 300, 1, LARGEST_TOLERANCE_SECONDS),
    requireHardened: read('REQUIRE_HARDENED', 'nothing', 'true, container or false', (text) => HARDENING_WORDS.get(text.toLowerCase())),
    maxBodyBytes: wholeNumber('MAX_BODY_BYTES', 65536, 1, LARGEST_MAX_BODY_BYTES),
    maxConnections: wholeNumber('MAX_CONNECTIONS', 1000, 1, LARGEST_MAX_CONNECTIONS),
    maxStreams: wholeNumber('MAX_STREAMS', 100, 1, LARGEST_MAX_STREAMS),
    headerTimeoutMs: milliseconds('HEADER_TIMEOUT_MS', 10_000),
    requestTimeoutMs: milliseconds('REQUEST_TIMEOUT_MS', 30_000),
    idleTimeoutMs: wholeNumber('IDLE_TIMEOUT_MS', 75_000, 1, LARGEST_IDLE_TIMEOUT_MS),
    queryTimeoutMs: milliseconds('QUERY_TIMEOUT_MS', 5000),
    retentionDays: environment.isSet('RETENTION_DAYS') ? wholeNumber('RETENTION_DAYS', 0, 1, LARGEST_DAYS) : null,
    // More than any sender tries again: the longest are nine days.
    dedupDays: wholeNumber('DEDUP_DAYS', 30, 0, LARGEST_DAYS),
    shutdownDelayMs: wholeNumber('SHUTDOWN_DELAY_MS', 0, 0, LARGEST_TIMEOUT_MS),
    shutdownTimeoutMs: milliseconds('SHUTDOWN_TIMEOUT_MS', 8000),
  };
  const { privateSide } = settings;
  if (privateSide !== null && privateSide.port !== 0 && privateSide.port === settings.port && privateSide.host === settings.host) {
    environment.problems.push('PRIVATE_PORT and PORT are the same: choose another for one of them');
  }
  return Object.freeze(settings);
}

/** Whether a variable is set that others need; one of those without it is a problem, as it would be without effect. */
function isSetFor({ isSet, problems }: Environment, name: string, dependents: readonly string[]): boolean {
  if (isSet(name)) return true;
  for (const dependent of dependents.filter(isSet)) problems.push(`${dependent} is set without ${name}: set both or neither`);
  return false;
}

function readDatabase(environment: Environment): Pick<Settings, 'database' | 'databaseNotify'> {
  const { problems, isSet, read } = environment;
  const url = readDatabaseUrl(environment);
  if (!url.valid) problems.push(...url.problems);
  else if (url.value.settings.kind === 'sqlite' && isSet('DATABASE_NOTIFY')) {
    problems.push('DATABASE_NOTIFY is set, and DATABASE_URL is the path of a file: do not set it');
  }
  return {
    database: url.valid ? url.value.settings : { kind: 'sqlite', path: '' },
    databaseNotify: read<DatabaseNotify>('DATABASE_NOTIFY', 'auto', 'auto or off', (text) => DATABASE_NOTIFY.find((word) => word === text)),
  };
}

function readTls(environment: Environment): Settings['tls'] {
  const isOn = isSetFor(environment, 'TLS_CERT_FILE', ['TLS_KEY_FILE', 'TLS_CLIENT_CA_FILE'])
    && isSetFor(environment, 'TLS_KEY_FILE', ['TLS_CERT_FILE']);
  return isOn ? { requiresClientCertificate: environment.isSet('TLS_CLIENT_CA_FILE') } : null;
}

function parseSchemes(text: string): SchemeName[] | undefined {
  const names = new Set(text.split(',').map((name) => name.trim()));
  const known = SIGNATURE_SCHEMES.filter((scheme) => names.has(scheme));
  return known.length === names.size ? known : undefined;
}

function parseHosts(text: string): string[] | undefined {
  const names = text.split(',').map((name) => name.trim().toLowerCase());
  return names.every((name) => HOST_OR_SUFFIX.test(name)) ? names : undefined;
}
