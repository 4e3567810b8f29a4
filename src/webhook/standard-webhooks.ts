import type { Scheme } from './scheme.ts';

/** Seconds since 1970, up to where a number is exact. */
const TIMESTAMP = /^[0-9]{1,15}$/;
/** The one version with a shared secret; entries of others, such as v1a, are skipped. */
const VERSION = 'v1,';
const SHA256_BYTES = 32;

/**
 * Standard Webhooks 1.0.0 (https://github.com/standard-webhooks/standard-webhooks, spec, Signature scheme): the HMAC of
 * `id.timestamp.body`, in base64; several may be given, for several keys. An id with a full stop could be read in two ways, but
 * then the body would begin with digits and a full stop, and be no JSON.
 */
export const standardWebhooks: Scheme = {
  headers: ['webhook-id', 'webhook-timestamp', 'webhook-signature'],
  parse([id = '', timestamp = '', list = '']) {
    if (id === '' || !TIMESTAMP.test(timestamp)) return null;
    const signatures = list.split(' ').flatMap((entry) => (entry.startsWith(VERSION) ? decode(entry.slice(VERSION.length)) : []));
    return signatures.length === 0 ? null : { signedPrefix: `${id}.${timestamp}.`, signatures, signedAt: Number(timestamp) };
  },
};

/** One signature, or none where it is not base64 of 32 bytes: decoding overlooks what is no base64. */
function decode(base64: string): Buffer[] {
  const signature = Buffer.from(base64, 'base64');
  return signature.length === SHA256_BYTES && signature.toString('base64') === base64 ? [signature] : [];
}
