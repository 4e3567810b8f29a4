import { createHmac } from 'node:crypto';
import type { Message } from '../../src/message.ts';

export const SECRET = 'a secret for tests only';

export function sign(body: string | Uint8Array, secret = SECRET): string {
  return createHmac('sha256', secret).update(body).digest('hex');
}

/** A valid message, changed where a test needs it. */
export function message(changes: Partial<Message> = {}): Message {
  return {
    message_id: 'm1', from: '+919876543210', to: '+14155550100', ts: '2025-01-15T10:00:00Z', text: 'Hello', ...changes,
  };
}
