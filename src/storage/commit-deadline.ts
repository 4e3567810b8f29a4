import { StorageUnavailable } from '../errors.ts';
import type { Message } from '../message.ts';
import type { AppendOutcome } from './storage.ts';

/** A batch that is not committed by then is answered 503; it may be stored all the same, and its repeats are harmless. */
const COMMIT_TIMEOUT_MS = 5000;

type Commit = (messages: readonly Message[]) => Promise<readonly AppendOutcome[]>;

/** Commits, or gives up on a storage that hangs; while it does, every batch is refused at once. Rejects with StorageUnavailable then. */
export function commitInTime(commit: Commit): Commit {
  let hanging = 0;
  return async (messages) => {
    if (hanging > 0) throw new StorageUnavailable('the storage does not answer');
    const outcomes = commit(messages);
    const { promise: tooLate, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(() => {
      hanging += 1;
      outcomes.catch(() => {}).finally(() => { hanging -= 1; });
      reject(new StorageUnavailable('the storage does not answer'));
    }, COMMIT_TIMEOUT_MS);
    try {
      return await Promise.race([outcomes, tooLate]);
    } finally {
      clearTimeout(timer);
    }
  };
}
