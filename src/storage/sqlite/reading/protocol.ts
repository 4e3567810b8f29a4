/** What the main thread and a reader thread say to each other: an answer to each question, in the same order. */
import type { Read, ReadReply } from '../../reads.ts';
import type { GatedData } from '../snapshot-gate.ts';

export interface ReaderData extends GatedData {
  /** To the other threads, where there is too little processor time for all. */
  readonly givesWay: boolean;
}

export interface ReaderRequest {
  readonly read: Read;
  readonly timeoutMs: number;
}

export type ReaderMessage = ReadReply | { readonly kind: 'opened' };
