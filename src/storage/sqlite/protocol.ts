/**
 * What the main thread and the database threads say to each other. Each thread answers in the order in which it was
 * asked, so no message carries a number. Both ends are compiled together; neither checks the other.
 */
import type { UnavailableReason } from '../../errors.ts';
import type { Message } from '../../message.ts';
import type {
  AppendOutcome, Arrivals, MessagePage, MessageQuery, Sequence, Stats, StoredMessages, StoredQuery,
} from '../storage.ts';

export interface ThreadData {
  readonly path: string;
}

/** Of a thread that takes snapshots, or has to have none in its way. */
export interface GatedData extends ThreadData {
  /** Of the `SnapshotGate`. */
  readonly gate: SharedArrayBuffer;
}

export interface ReaderData extends GatedData {
  /** To the other threads, where there is too little processor time for all. */
  readonly givesWay: boolean;
}

/** Messages that came together: all that decides what their rows hold. */
export interface Batch {
  /** The server's time, in milliseconds since 1970. */
  readonly received_at: number;
  readonly messages: readonly Message[];
}

export type WriterRequest =
  /** `batch` is a Batch as JSON: one string crosses to a thread faster than an array of objects. */
  | { readonly kind: 'commit'; readonly batch: string }
  /** `writesAt`: the time to write, in milliseconds since 1970; null: only looks whether a write could begin. */
  | { readonly kind: 'probe'; readonly writesAt: number | null }
  | { readonly kind: 'close' };

/** Answers the next `requests` requests: batches that waited together are committed together. */
export type WriterReply =
  | { readonly kind: 'committed'; readonly requests: number; readonly outcomes: readonly AppendOutcome[] }
  /** `fatal`: the writer will never commit again. */
  | { readonly kind: 'failed'; readonly requests: number; readonly reason: UnavailableReason; readonly fatal: boolean };

/** What the writer finds in the database that it has opened. */
export interface Opened {
  readonly engineVersion: string;
  /** The name of this start (`generations.ts`). */
  readonly generation: string;
  /** How many messages are stored. */
  readonly messages: number;
  /** When the newest row was stored before this start, in milliseconds since 1970. */
  readonly lastStoredAt: number | undefined;
}

export type WriterMessage =
  | WriterReply
  | { readonly kind: 'opened' } & Opened
  | { readonly kind: 'refused'; readonly problem: string }
  /** Unasked: nothing will be committed any more. */
  | { readonly kind: 'fatal'; readonly reason: UnavailableReason }
  /** Unasked: checkpoints fail, or no longer. */
  | { readonly kind: 'checkpoints'; readonly reason: UnavailableReason | null }
  | { readonly kind: 'notice'; readonly event: string; readonly fields: Readonly<Record<string, unknown>> };

/** The answer to any message, as there is only one thing to ask for: to copy the log into the database file. */
export interface CheckpointerReply {
  readonly failure: UnavailableReason | null;
  /** Whether all was copied that was there when it began: no reader holds an older page. */
  readonly copiedAll: boolean;
}

/** `index`: to take the stored messages into the read index, made anew where it cannot be used. `verify`: to look for damage in it. */
export interface IndexerRequest {
  readonly kind: 'index' | 'verify';
}

export type IndexerMessage =
  /** It is about to open the index. */
  | { readonly kind: 'started' }
  /** How many messages are in the index when it was opened, while it is brought up to date, and then. */
  | { readonly kind: 'opened' | 'indexing' | 'indexed'; readonly indexed: number }
  /** `isLost`: nothing of the index can be used any more. */
  | { readonly kind: 'failed'; readonly reason: UnavailableReason; readonly isLost: boolean };

/** What can be read, each with its question. */
export type Read =
  | { readonly kind: 'list'; readonly query: MessageQuery }
  | { readonly kind: 'stats' }
  | { readonly kind: 'stored'; readonly query: StoredQuery }
  | { readonly kind: 'newestSequence' }
  | { readonly kind: 'holds'; readonly generation: string; readonly sequence: Sequence }
  | { readonly kind: 'arrivals'; readonly sinceMinute: number };

export interface ReaderRequest {
  readonly read: Read;
  readonly timeoutMs: number;
}

export type ReaderMessage = ReaderReply | { readonly kind: 'opened' };

/** What each kind of read results in. */
export interface ReadResults {
  readonly list: MessagePage;
  readonly stats: Stats;
  readonly stored: StoredMessages;
  readonly newestSequence: Sequence;
  readonly holds: boolean;
  readonly arrivals: readonly Arrivals[];
}

/** The result of a read of the same kind, or why there is none. */
export type ReaderReply =
  | { readonly [Kind in Read['kind']]: { readonly kind: Kind; readonly result: ReadResults[Kind] } }[Read['kind']]
  | { readonly kind: 'failed'; readonly reason: UnavailableReason };
