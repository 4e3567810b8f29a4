import { createSecretKey, type KeyObject } from 'node:crypto';
import { LOG_LEVELS, type LogLevel } from './observe/log.ts';

/** What the service is told from outside; read once at start, never changed after. */
export interface Config {
  /** HMAC key of the webhook, or null where none is set: then nothing is accepted. */
  readonly secret: KeyObject | null;
  readonly databasePath: string;
  readonly logLevel: LogLevel;
  readonly metricsEnabled: boolean;
  readonly host: string;
  /** 0 lets the system pick a free port. */
  readonly port: number;
  /** Largest accepted webhook body in bytes. */
  readonly maxBodyBytes: number;
  /** Connections open at the same time; past it the oldest idle one makes room. */
  readonly maxConnections: number;
  /** Longest time for the head of a request to arrive, in milliseconds. */
  readonly headerTimeoutMs: number;
  /** Longest time for a whole request to arrive, and for its answer to be taken, in milliseconds. */
  readonly requestTimeoutMs: number;
  /** Longest time that a connection stays open between requests, in milliseconds. */
  readonly idleTimeoutMs: number;
  /** Longest time for a read, waiting included, in milliseconds. */
  readonly queryTimeoutMs: number;
  /** Longest time from SIGTERM to the end of the process, in milliseconds. */
  readonly shutdownTimeoutMs: number;
}

export type ConfigReading =
  | { readonly valid: true; readonly config: Config }
  | { readonly valid: false; readonly problems: readonly string[] };

/** No valid message needs more than 64 KB; parsing takes many times the size in memory. */
export const LARGEST_MAX_BODY_BYTES = 16 * 1024 * 1024;
const LARGEST_MAX_CONNECTIONS = 100_000;
const LARGEST_TIMEOUT_MS = 10 * 60 * 1000;

const SWITCH_WORDS = new Map([
  ['true', true], ['1', true], ['yes', true], ['on', true],
  ['false', false], ['0', false], ['no', false], ['off', false],
]);

/**
 * Reads the environment (README, Configuration). Reports every problem at once and repeats no value, as a
 * mistyped one may be a secret. A variable that is set but empty is a problem, except WEBHOOK_SECRET: there it is none.
 */
export function readConfig(environment: NodeJS.ProcessEnv): ConfigReading {
  const problems: string[] = [];

  function read<Value>(name: string, fallback: Value, rule: string, parse: (text: string) => Value | undefined): Value {
    const text = environment[name];
    if (text === undefined) return fallback;
    const value = text === '' ? undefined : parse(text);
    const must = text === '' ? 'is set but empty: it must be' : 'must be';
    if (value === undefined) problems.push(`${name} ${must} ${rule}`);
    return value ?? fallback;
  }
  const wholeNumber = (name: string, fallback: number, least: number, most: number) =>
    read(name, fallback, `a whole number from ${least} to ${most}`, (text) => {
      const number = /^[0-9]{1,15}$/.test(text) ? Number(text) : NaN;
      return number >= least && number <= most ? number : undefined;
    });
  const milliseconds = (name: string, fallback: number) => wholeNumber(name, fallback, 1, LARGEST_TIMEOUT_MS);

  const secret = environment['WEBHOOK_SECRET'] ?? '';
  // Node.js has put U+FFFD where bytes were not UTF-8; every right signature would be refused.
  if (secret.includes('\ufffd')) problems.push('WEBHOOK_SECRET must be UTF-8');
  const config: Config = Object.freeze({
    secret: secret === '' ? null : createSecretKey(secret, 'utf8'),
    databasePath: read('DATABASE_URL', '/data/app.db', DATABASE_URL_RULE, parseDatabaseUrl),
    logLevel: read('LOG_LEVEL', 'INFO', `one of ${LOG_LEVELS.join(', ')}`, (text) =>
      LOG_LEVELS.find((level) => level === text.toUpperCase())),
    metricsEnabled: read('ENABLE_METRICS', true, 'true or false', (text) => SWITCH_WORDS.get(text.toLowerCase())),
    host: read('HOST', '0.0.0.0', 'an address or host name to listen on', (text) => (/\s/.test(text) ? undefined : text)),
    port: wholeNumber('PORT', 8000, 0, 65535),
    maxBodyBytes: wholeNumber('MAX_BODY_BYTES', 65536, 1, LARGEST_MAX_BODY_BYTES),
    maxConnections: wholeNumber('MAX_CONNECTIONS', 1000, 1, LARGEST_MAX_CONNECTIONS),
    headerTimeoutMs: milliseconds('HEADER_TIMEOUT_MS', 10_000),
    requestTimeoutMs: milliseconds('REQUEST_TIMEOUT_MS', 30_000),
    idleTimeoutMs: milliseconds('IDLE_TIMEOUT_MS', 75_000),
    queryTimeoutMs: milliseconds('QUERY_TIMEOUT_MS', 5000),
    shutdownTimeoutMs: milliseconds('SHUTDOWN_TIMEOUT_MS', 8000),
  });
  return problems.length === 0 ? { valid: true, config } : { valid: false, problems };
}

const DATABASE_URL_RULE =
  "the path of a database file, alone or after 'file:' or 'sqlite:///', without parameters and not in memory";

/**
 * The path in a DATABASE_URL, or undefined where it is none. `sqlite:///x` is relative and `sqlite:////x` absolute, as
 * SQLAlchemy has it; `file:` follows https://sqlite.org/uri.html. Parameters are refused, because some
 * (`vfs=unix-none`, `mode=memory`, `nolock`) turn durability off without a word.
 */
function parseDatabaseUrl(url: string): string | undefined {
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
