import { createHmac, createSecretKey } from 'node:crypto';
import type { WebhookKey } from '../../src/config/credentials.ts';
import type { Rotation } from '../../src/rotation.ts';
import { type SignatureRules, verifySignature } from '../../src/webhook/signature.ts';

/** Keys of these bytes, the same in every scheme. */
export function keysOf(current: string | Buffer, previous: string | Buffer | null = null): Rotation<WebhookKey> {
  const keyOf = (secret: string | Buffer): WebhookKey => {
    const key = createSecretKey(Buffer.from(secret));
    return { 'x-signature': key, 'standard-webhooks': key };
  };
  return { current: keyOf(current), previous: previous === null ? null : keyOf(previous) };
}

/** What is said of a body with these headers: the key, or the fault. Only `X-Signature` is accepted unless `rules` say otherwise. */
export function verdictOf(
  headers: readonly (readonly [string, string])[], body: Uint8Array, keys: Rotation<WebhookKey>, rules: Partial<SignatureRules> = {},
): string {
  const verdict = verifySignature(headers.flat(), body, keys, {
    signatureSchemes: ['x-signature'], signatureToleranceSeconds: 300, now: () => 0, ...rules,
  });
  return 'key' in verdict ? verdict.key : verdict.fault;
}

/** The three headers of Standard Webhooks 1.0.0 for a body; `secret` as Standard Webhooks writes it. */
export function standardHeaders(body: string | Uint8Array, secret: string, seconds: number, id = 'msg_1'): Record<string, string> {
  const key = Buffer.from(secret.replace('whsec_', ''), 'base64');
  const signature = createHmac('sha256', key).update(`${id}.${seconds}.`).update(body).digest('base64');
  return { 'webhook-id': id, 'webhook-timestamp': String(seconds), 'webhook-signature': `v1,${signature}` };
}
