/** Where in the order of messages those lie that a page shows. */
import type { MessageQuery, Position } from '../../storage.ts';

/** What lies from `begin` on, and before `end` where that is given. */
export interface Bounds {
  readonly begin: Position;
  readonly end: Position | undefined;
}

/** Where an order begins, or begins at an instant. */
export const startOf = (instant = ''): Position => ({ instant, message_id: '' });

/** Nothing is between a text and the same with a NUL behind it. */
export const rightAfter = ({ instant, message_id }: Position): Position => ({ instant, message_id: `${message_id}\0` });

/** Where the page of a query lies, its offset and limit aside. */
export function boundsOfPage({ since, after, newestFirst }: Pick<MessageQuery, 'since' | 'after' | 'newestFirst'>): Bounds {
  const begin = startOf(since);
  if (after === undefined) return { begin, end: undefined };
  if (newestFirst === true) return { begin, end: after };
  const next = rightAfter(after);
  return { begin: compare(begin, next) > 0 ? begin : next, end: undefined };
}

/** What lies in both. */
export function overlap(a: Bounds, b: Bounds): Bounds {
  const end = a.end !== undefined && (b.end === undefined || compare(a.end, b.end) < 0) ? a.end : b.end;
  return { begin: compare(a.begin, b.begin) > 0 ? a.begin : b.begin, end };
}

/** By UTF-8 bytes, as databases compare and UTF-16 units do not always agree with. */
export function compare(a: Position, b: Position): number {
  const compareBytes = (one: string, other: string) => Buffer.compare(Buffer.from(one), Buffer.from(other));
  return compareBytes(a.instant, b.instant) || compareBytes(a.message_id, b.message_id);
}
