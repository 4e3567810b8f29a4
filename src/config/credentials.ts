import { createHash, createSecretKey, type KeyObject } from 'node:crypto';
import { matchingKey, type Rotation } from '../rotation.ts';
import { readDatabaseCredentials, type DatabaseCredentials } from './database-credentials.ts';
import type { Environment } from './environment.ts';
import { findingsOf } from './pasted.ts';
import { createSecrets, type Say } from './secrets.ts';
import type { SchemeName, Settings } from './settings.ts';
import { readTlsCredentials, type TlsCredentials } from './tls-credentials.ts';

/**
 * What proves who somebody is: a sender, a reader, or this service to its database. Which of them are set never changes; what they are may,
 * by a reload.
 */
export interface Credentials {
  /** Null: nothing is accepted. */
  readonly webhook: Rotation<WebhookKey> | null;
  /** Null: reading is open. */
  readonly readToken: Rotation<TokenDigest> | null;
  /** Null: metrics are open. */
  readonly metricsToken: Rotation<TokenDigest> | null;
  /** Null: nothing is erased on request. */
  readonly eraseToken: Rotation<TokenDigest> | null;
  /** Null: plain HTTP. */
  readonly tls: TlsCredentials | null;
  /** Null: the database is a file. */
  readonly database: DatabaseCredentials | null;
  /** The names of those that are set. */
  readonly set: readonly string[];
  /** What is accepted and yet unwise, in words for an operator. */
  readonly warnings: readonly string[];
}

/** The HMAC key of a secret in each scheme: they differ for a secret in the form of Standard Webhooks. */
export type WebhookKey = Readonly<Record<SchemeName, KeyObject>>;

/** SHA-256 of a token: 32 bytes whatever its length, so that two can be compared in constant time. */
export type TokenDigest = Buffer;

export const digestToken = (token: string): TokenDigest => createHash('sha256').update(token).digest();

/** Shorter ones can be found by trying. */
const LEAST_SECRET_BYTES = 16;

/** Reads all credentials. Where the environment has problems then, what is returned must not be used. */
export function readCredentials(
  environment: Environment, { signatureSchemes, tls }: Pick<Settings, 'signatureSchemes' | 'tls'>,
): Credentials {
  const secrets = createSecrets(environment);

  function readOne<Credential>(name: string, parse: (text: string, refuse: Say, warn: Say) => Credential): Credential | null {
    const text = secrets.read(name, LEAST_SECRET_BYTES);
    return text === null ? null : parse(text, secrets.refuse(name), secrets.warn(name));
  }
  function readRotation<Credential>(name: string, parse: Parameters<typeof readOne<Credential>>[1]): Rotation<Credential> | null {
    const problemsBefore = environment.problems.length;
    const current = readOne(name, parse);
    const isRefused = environment.problems.length > problemsBefore;
    const previousName = `${name}_PREVIOUS`;
    const previous = readOne(previousName, parse);
    if (current !== null) return { current, previous };
    // Where the current one is there and no good, that was said already.
    if (previous !== null && !isRefused) environment.problems.push(`${previousName} is set without ${name}: set both or neither`);
    return null;
  }

  const webhook = readRotation('WEBHOOK_SECRET', (secret, refuse, warn) => {
    if (signatureSchemes.includes('standard-webhooks')) checkStandardSecret(secret, refuse, warn);
    else if (STANDARD_MARK.test(secret)) warn('is of Standard Webhooks, which SIGNATURE_SCHEMES does not have: all of its text is the key');
    return webhookKey(secret);
  });
  const readToken = readRotation('READ_TOKEN', parseToken);
  const metricsToken = readOne('METRICS_TOKEN', parseToken);
  if (metricsToken !== null && readToken !== null && matchingKey(readToken, (token) => token.equals(metricsToken)) !== null) {
    secrets.warn('METRICS_TOKEN')('is also a READ_TOKEN: the monitoring system can read the messages');
  }
  const eraseToken = readOne('ERASE_TOKEN', parseToken);
  const others = [readToken?.current, readToken?.previous, metricsToken];
  if (eraseToken !== null && others.some((token) => token?.equals(eraseToken) === true)) {
    secrets.warn('ERASE_TOKEN')('is also a token for reading: whoever may read can erase');
  }
  return {
    webhook,
    readToken,
    metricsToken: metricsToken && { current: metricsToken, previous: null },
    eraseToken: eraseToken && { current: eraseToken, previous: null },
    tls: tls && readTlsCredentials(environment, tls),
    database: readDatabaseCredentials(environment, secrets),
    set: secrets.set,
    warnings: secrets.warnings,
  };
}

const STANDARD_PREFIX = 'whsec_';
/** Standard Webhooks 1.0.0, Signature scheme: a shared secret, and the two halves of an asymmetric key, however they were copied. */
const STANDARD_MARK = /wh(?:sec|sk|pk)[-_ ]/i;
/** The same: 192 to 512 bits. */
const STANDARD_LEAST_BYTES = 24;
const STANDARD_MOST_BYTES = 64;

function webhookKey(secret: string): WebhookKey {
  const text = Buffer.from(secret);
  const standard = secret.startsWith(STANDARD_PREFIX) ? Buffer.from(secret.slice(STANDARD_PREFIX.length), 'base64') : text;
  return { 'x-signature': createSecretKey(text), 'standard-webhooks': createSecretKey(standard) };
}

function checkStandardSecret(secret: string, refuse: Say, warn: Say): void {
  if (/wh[sp]k_/i.test(secret)) return refuse('is a key for asymmetric signatures, which are not accepted: use one after whsec_');
  if (!secret.startsWith(STANDARD_PREFIX)) {
    if (STANDARD_MARK.test(secret)) refuse(`must begin with ${STANDARD_PREFIX}, in lower case: remove what stands before that`);
    else if (isStandardKey(secret)) warn(`is base64, which senders' libraries decode: put ${STANDARD_PREFIX} before it, unless meant`);
  } else if (!isStandardKey(secret.slice(STANDARD_PREFIX.length))) {
    refuse(`must be base64 of ${STANDARD_LEAST_BYTES} to ${STANDARD_MOST_BYTES} bytes after ${STANDARD_PREFIX}`);
  }
}

function isStandardKey(encoded: string): boolean {
  const bytes = Buffer.from(encoded, 'base64');
  // Decoding overlooks what is no base64; RFC 4648 section 3.2 lets padding be left out where the length is known.
  const padded = bytes.toString('base64');
  const isBase64 = encoded === padded || encoded === padded.replace(/=+$/, '');
  return isBase64 && bytes.length >= STANDARD_LEAST_BYTES && bytes.length <= STANDARD_MOST_BYTES;
}

/** RFC 6750 section 2.1: what can stand after `Bearer`. */
const B64TOKEN = /^[A-Za-z0-9\-._~+/]+=*$/;

function parseToken(token: string, refuse: Say, warn: Say): TokenDigest {
  if (STANDARD_MARK.test(token)) warn('is a secret of Standard Webhooks: give a token of its own');
  if (!B64TOKEN.test(token)) {
    const [doubt] = findingsOf(token).doubts;
    const cause = doubt === undefined ? '' : `; it ${doubt}`;
    refuse(`must be letters, digits and -._~+/ only, with = at its end at most (RFC 6750)${cause}`);
  }
  return digestToken(token);
}
