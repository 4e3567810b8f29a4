/** What a move needs of where messages are, and of where they are to be. */
import type { Message } from '../../message.ts';
import type { Sequence } from '../storage.ts';

/** A message as it is stored, and when it came. */
export interface MovedMessage {
  readonly message: Message;
  /** Milliseconds since 1970, a whole number in digits; null where that is not known. Others may have written something else. */
  readonly received_at: string | null;
}

export interface KeptMessage extends MovedMessage {
  /** What tells it from all others for an operator, too: its row id. */
  readonly sequence: Sequence;
  /** False where bytes of it are no UTF-8: then `message` is not what is stored. */
  readonly isUtf8: boolean;
}

/** All of its functions reject with StartRefused where an operator has to mend something first, and with other errors. */
export interface Side {
  count(): Promise<number>;
  /** The next ones in the order of storing, `most` at most, fewer where they are large; none at the end. Null: from the beginning. */
  read(after: Sequence | null, most: number): Promise<readonly KeptMessage[]>;
  /** Never rejects. */
  close(): Promise<void>;
}

export interface TargetSide extends Side {
  /** Why it cannot hold this one, in words for an operator; null where it can. */
  refusalOf(one: KeptMessage): string | null;
  /** To be called once, before the first `takeOver`: makes what is missing. Until then nothing is written. `taken`: how many are there. */
  begin(taken: number): Promise<void>;
  /**
   * Stores all of them in one transaction, behind what is there, durable once it resolves. Where it rejects, all or none of them are
   * stored.
   */
  takeOver(moved: readonly MovedMessage[]): Promise<void>;
  /** To be called once all are there: makes what is made faster of all at once. */
  complete(): Promise<void>;
}
