import type { Message } from '../message.ts';
import type { Receipt } from '../storage/storage.ts';

export const FIELDS = ['received_at', 'sequence'] as const;
/** What a reader may have of a message beyond its content. */
export type Field = (typeof FIELDS)[number];

/**
 * A message with what was asked for beyond its content: when it was received, in RFC 3339 with milliseconds, null where that is not known;
 * its place in the order of storing, a number, in digits where it is larger than a JavaScript number is exact.
 */
export function withFields(message: Message, { sequence, receivedAt }: Receipt, fields: readonly Field[]): object {
  if (fields.length === 0) return message;
  const number = Number(sequence);
  return {
    ...message,
    ...(fields.includes('received_at') && { received_at: receivedAt === null ? null : new Date(receivedAt).toISOString() }),
    ...(fields.includes('sequence') && { sequence: Number.isSafeInteger(number) ? number : sequence }),
  };
}
