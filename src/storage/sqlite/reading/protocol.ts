/** What the main thread and a reader thread say to each other: an answer to each question, in the same order. */
import type { UnavailableReason } from '../../../errors.ts';
import type { Arrivals, MessagePage, MessageQuery, Sequence, Stats, StoredMessages, StoredQuery } from '../../storage.ts';
import type { GatedData } from '../snapshot-gate.ts';

export interface ReaderData extends GatedData {
  /** To the other threads, where there is too little processor time for all. */
  readonly givesWay: boolean;
}

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

/** The result of a read of the same kind. */
export type ReadAnswer = { readonly [Kind in Read['kind']]: { readonly kind: Kind; readonly result: ReadResults[Kind] } }[Read['kind']];

/** Or why there is none. */
export type ReaderReply = ReadAnswer | { readonly kind: 'failed'; readonly reason: UnavailableReason };
