import { createHmac, timingSafeEqual, type KeyObject } from 'node:crypto';
import type { SignatureFault } from '../observe/metrics.ts';

const SHA256_HEX = /^(?:sha256=)?([0-9a-fA-F]{64})$/;

/**
 * Checks the values of the X-Signature headers against the HMAC-SHA256 (RFC 2104, FIPS 180-4) of the raw body.
 * Returns null where exactly one was sent and is right. Compares in constant time; pure, and throws nothing.
 */
export function signatureFault(headers: readonly string[], body: Uint8Array, secret: KeyObject): SignatureFault | null {
  const [header, ...repeated] = headers;
  if (header === undefined) return 'missing';
  // Buffer.from(…, 'hex') ignores what follows the first wrong digit, so the form is checked before.
  const digits = repeated.length === 0 ? SHA256_HEX.exec(header)?.[1] : undefined;
  if (digits === undefined) return 'malformed';
  const expected = createHmac('sha256', secret).update(body).digest();
  return timingSafeEqual(expected, Buffer.from(digits, 'hex')) ? null : 'mismatch';
}
