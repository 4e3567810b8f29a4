import type { Scheme } from './scheme.ts';

const SHA256_HEX = /^(?:sha256=)?([0-9a-fA-F]{64})$/;

/** The scheme of its own (`http/README.md`, POST /webhook): `X-Signature` has the HMAC of the body, in hex. */
export const xSignature: Scheme = {
  headers: ['x-signature'],
  parse([value = '']) {
    // Buffer.from(…, 'hex') ignores what follows the first wrong digit, so the form is checked before.
    const digits = SHA256_HEX.exec(value)?.[1];
    return digits === undefined ? null : { signedPrefix: '', signatures: [Buffer.from(digits, 'hex')], signedAt: null };
  },
};
