/** Decides whether a request is signed: which scheme it follows, with which key, and whether the time that it names is near. */
import { createHmac, timingSafeEqual, type KeyObject } from 'node:crypto';
import type { WebhookKey } from '../config/credentials.ts';
import { matchingKey, type Rotation, type RotationKey } from '../rotation.ts';
import type { SchemeName } from '../config/settings.ts';
import { headerValues } from '../http/request-head.ts';
import type { SignatureFault } from '../observe/metrics.ts';
import type { Claim, Scheme } from './scheme.ts';
import { standardWebhooks } from './standard-webhooks.ts';
import { xSignature } from './x-signature.ts';

/** Which key a request is signed with, or why it is not accepted. */
export type Verdict = { readonly key: RotationKey } | { readonly fault: SignatureFault };

export interface SignatureRules {
  /** The accepted ones. */
  readonly signatureSchemes: readonly SchemeName[];
  /** Largest difference between the signed time and now, either way. */
  readonly signatureToleranceSeconds: number;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

const SCHEMES: Readonly<Record<SchemeName, Scheme>> = { 'x-signature': xSignature, 'standard-webhooks': standardWebhooks };

/**
 * Checks the headers of a request (`IncomingMessage.rawHeaders`) against the HMAC-SHA256 (RFC 2104, FIPS 180-4) of what its
 * scheme signs. The headers that came decide on the scheme; those of two are malformed. Compares in constant time; throws nothing.
 */
export function verifySignature(
  rawHeaders: readonly string[], body: Uint8Array, keys: Rotation<WebhookKey>, rules: SignatureRules,
): Verdict {
  const used = rules.signatureSchemes.map((name) => ({ name, values: valuesOf(SCHEMES[name], rawHeaders) }))
    .filter(({ values }) => values.some((found) => found.length > 0));
  const [only, ...others] = used;
  if (only === undefined) return { fault: 'missing' };
  if (others.length > 0 || only.values.some((found) => found.length > 1)) return { fault: 'malformed' };
  if (only.values.some((found) => found.length === 0)) return { fault: 'missing' };
  const claim = SCHEMES[only.name].parse(only.values.flat());
  if (claim === null) return { fault: 'malformed' };

  const key = matchingKey(keys, (candidate) => isSignedWith(candidate[only.name], claim, body));
  if (key === null) return { fault: 'mismatch' };
  return isNear(claim.signedAt, rules) ? { key } : { fault: 'timestamp' };
}

const valuesOf = (scheme: Scheme, rawHeaders: readonly string[]) => scheme.headers.map((name) => headerValues(rawHeaders, name));

function isSignedWith(key: KeyObject, { signedPrefix, signatures }: Claim, body: Uint8Array): boolean {
  const expected = createHmac('sha256', key).update(signedPrefix, 'latin1').update(body).digest();
  return signatures.some((signature) => timingSafeEqual(signature, expected));
}

function isNear(signedAt: number | null, { signatureToleranceSeconds, now }: SignatureRules): boolean {
  return signedAt === null || Math.abs(Math.floor(now() / 1000) - signedAt) <= signatureToleranceSeconds;
}
