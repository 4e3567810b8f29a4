/**
 * What the main thread and the database threads say to each other. Each thread answers in the order in which it was
 * asked, one reply to a request, so no message carries a number. Both ends are compiled together; neither checks the other.
 */
import type { UnavailableReason } from '../../errors.ts';
import type { Message } from '../../message.ts';
import type { AppendOutcome, MessagePage, MessageQuery, Stats } from '../storage.ts';

export interface ThreadData {
  readonly path: string;
}

/** One transaction's worth of messages: all that decides what its rows hold. */
export interface Batch {
  /** The server's time, in milliseconds since 1970. */
  readonly received_at: number;
  readonly messages: readonly Message[];
}

export type WriterRequest =
  /** `batch` is a Batch as JSON: one string crosses to a thread faster than an array of objects. */
  | { readonly kind: 'commit'; readonly batch: string }
  | { readonly kind: 'probe'; readonly at: number }
  | { readonly kind: 'close' };

export type WriterReply =
  | { readonly kind: 'committed'; readonly outcomes: readonly AppendOutcome[] }
  /** `fatal`: the writer will never commit again. */
  | { readonly kind: 'failed'; readonly reason: UnavailableReason; readonly fatal: boolean };

export type WriterMessage =
  | WriterReply
  | { readonly kind: 'opened'; readonly lastStoredAt: number | undefined; readonly engineVersion: string }
  | { readonly kind: 'refused'; readonly problem: string }
  /** Unasked: nothing will be committed any more. */
  | { readonly kind: 'fatal'; readonly reason: UnavailableReason }
  | { readonly kind: 'notice'; readonly event: string; readonly fields: Readonly<Record<string, unknown>> };

export type ReaderRequest =
  | { readonly kind: 'list'; readonly query: MessageQuery; readonly timeoutMs: number }
  | { readonly kind: 'stats' };

export type ReaderMessage = ReaderReply | { readonly kind: 'opened' };

export type ReaderReply =
  | { readonly kind: 'page'; readonly page: MessagePage }
  | { readonly kind: 'stats'; readonly stats: Stats }
  | { readonly kind: 'failed'; readonly reason: UnavailableReason };
