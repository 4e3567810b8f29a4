/** What a query means, whatever storage answers it: the order of messages, what of it a page shows, what is counted. */
import type { Message } from '../message.ts';
import {
  STORED_PART_BYTES, type MessageFilter, type MessagePage, type MessageQuery, type Position, type Receipt, type Sequence,
  type StoredMessages, type StoredQuery,
} from './storage.ts';

/** So many senders stand in the statistics. */
export const TOP_SENDERS = 10;
export const MS_PER_MINUTE = 60_000;

/** A message with its place in the order. */
export interface PlacedMessage {
  readonly message: Message;
  readonly receipt: Receipt;
  readonly position: Position;
}

export interface Found {
  /** How many match in all. */
  readonly total: number;
  /** Up to one more than the page takes, so that it shows whether more follow. */
  readonly messages: readonly PlacedMessage[];
}

export function toPage({ total, messages }: Found, { limit, withReceipts }: Pick<MessageQuery, 'limit' | 'withReceipts'>): MessagePage {
  const items = messages.slice(0, limit);
  return {
    items: items.map(({ message }) => message),
    total,
    next: messages.length > limit ? items.at(-1)?.position ?? null : null,
    ...(withReceipts === true && { receipts: items.map(({ receipt }) => receipt) }),
  };
}

/** Of an order, in SQL. */
export type Direction = 'ASC' | 'DESC';

export const directionOf = ({ newestFirst }: Pick<MessageQuery, 'newestFirst'>): Direction => (newestFirst === true ? 'DESC' : 'ASC');

/** Rows that a read of stored messages with a filter looks at: a few milliseconds. */
const STEP_ROWS = 2_000;

/** How many of the next messages a read of stored messages looks at. */
export const mostLookedAt = (query: StoredQuery): number => (isFiltered(query) ? STEP_ROWS : query.limit);

/** Whether there are messages that do not match. */
export const isFiltered = ({ message_id, from, q }: MessageFilter): boolean =>
  message_id !== undefined || from !== undefined || q !== undefined;

type StoredItem = StoredMessages['items'][number];

/**
 * A part of what was stored. `matching`: what matches among the next messages, in order, at most `limit`; what is not taken is not asked
 * for. `last`: the last of those that were looked at, and `count` how many those are.
 */
export function toPart(
  query: StoredQuery, matching: Iterable<StoredItem>, { last, count }: { readonly last: Sequence; readonly count: number },
): StoredMessages {
  const items: StoredItem[] = [];
  let bytes = 0;
  let isCut = false;
  for (const item of matching) {
    bytes += bytesOf(item.message);
    isCut = items.length > 0 && bytes > STORED_PART_BYTES;
    if (isCut) break;
    items.push(item);
  }
  const through = isCut || items.length === query.limit ? items.at(-1)?.sequence ?? last : last;
  return { items, through, isAll: through === last && count < mostLookedAt(query) };
}

const bytesOf = ({ message_id, from, to, ts, text }: Message): number => Buffer.byteLength(`${message_id}${from}${to}${ts}${text ?? ''}`);
