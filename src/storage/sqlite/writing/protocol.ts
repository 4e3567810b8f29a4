/**
 * What the main thread, the writer thread and the checkpointer thread say to each other. Each answers in the order in which it was asked,
 * so no message carries a number. Both ends are compiled together; neither checks the other.
 */
import type { UnavailableReason } from '../../../errors.ts';
import type { AppendOutcome } from '../../storage.ts';
import type { ErasureProgress, ErasureRequest } from '../file/hiding.ts';
import type { Opened } from '../file/open.ts';
import type { RemovalRequest } from '../file/removal.ts';

/** One step of taking messages away. It waits for no lock of another process. */
export type RemovalStep =
  /** Hides what was received before a time, null: nothing, and forgets some ids whose time has passed; both in milliseconds since 1970. */
  | { readonly kind: 'expire'; readonly before: number | null; readonly now: number }
  | { readonly kind: 'erase' } & ErasureRequest
  /** Forgets some as well: as more ids are remembered, more are forgotten. */
  | { readonly kind: 'remove'; readonly now: number } & RemovalRequest;

/** What a step has done. */
export interface StepDone {
  /** How many messages it has hidden, or removed. */
  readonly messages: number;
  readonly isDone: boolean;
  /** Of an erasure: with what it goes on. */
  readonly progress: ErasureProgress | null;
}

export type WriterRequest =
  /** `batch` is a Batch (`append.ts`) as JSON: one string crosses to a thread faster than an array of objects. */
  | { readonly kind: 'commit'; readonly batch: string }
  /** `writesAt`: the time to write, in milliseconds since 1970; null: only looks whether a write could begin. */
  | { readonly kind: 'probe'; readonly writesAt: number | null }
  | RemovalStep
  | { readonly kind: 'close' };

/** Answers the next `requests` requests: batches that waited together are committed together. */
export type WriterReply =
  | { readonly kind: 'committed'; readonly requests: number; readonly outcomes: readonly AppendOutcome[] }
  | { readonly kind: 'stepped'; readonly requests: 1; readonly done: StepDone }
  /** `fatal`: the writer will never commit again. */
  | { readonly kind: 'failed'; readonly requests: number; readonly reason: UnavailableReason; readonly fatal: boolean };

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
