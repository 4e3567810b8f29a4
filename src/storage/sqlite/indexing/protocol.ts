/** What the main thread and the indexer thread say to each other. */
import type { UnavailableReason } from '../../../errors.ts';
import type { TakenOut } from '../file/removal.ts';

/** `index`: to take the stored messages into the read index, made anew where it cannot be used. `verify`: to look for damage in it. */
export interface IndexerRequest {
  readonly kind: 'index' | 'verify';
}

export type IndexerMessage =
  /** It is about to open the index. */
  | { readonly kind: 'started' }
  /** How many messages are in the index, or have vanished and are not: when it was opened, while it is brought up to date, and then. */
  | { readonly kind: 'opened' | 'indexing' | 'indexed'; readonly indexed: number }
  /** Up to where those that have vanished are out: told before anything else is taken in, which may fail. */
  | { readonly kind: 'takenOut'; readonly takenOut: TakenOut }
  /** `isLost`: nothing of the index can be used any more. */
  | { readonly kind: 'failed'; readonly reason: UnavailableReason; readonly isLost: boolean };
