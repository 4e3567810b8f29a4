import { StorageUnavailable } from '../errors.ts';

/** Messages accepted and not yet answered; with the largest message each, some 20 MB. */
export const QUEUE_CAPACITY = 1024;

/**
 * The main thread's half of group commit. Items that come in one turn of the event loop are handed on together at its end;
 * what is handed on while a commit is under way waits at the storage and makes up its next commit. So one commit, and one sync,
 * serves many, and each is answered after it. No timer and no waiting on purpose: a lone item is committed at once.
 */
export interface GroupCommit<Item, Outcome> {
  /** Resolves with the item's own outcome after its commit; rejects where that failed, or at once without room. */
  add(item: Item): Promise<Outcome>;
  hasRoom(): boolean;
  /** Items not yet answered. */
  depth(): number;
  /** Takes no more items; resolves when all that were added are answered. */
  close(): Promise<void>;
}

export interface GroupCommitOptions<Item, Outcome> {
  /** Commits a batch, with others that wait, and returns the outcome of each item, in the same order. Called while earlier calls go on. */
  commit(items: readonly Item[]): Promise<readonly Outcome[]>;
  /** Most items not yet answered. */
  readonly capacity: number;
}

interface Entry<Item, Outcome> {
  readonly item: Item;
  readonly resolve: (outcome: Outcome) => void;
  readonly reject: (error: Error) => void;
}

export function createGroupCommit<Item, Outcome>(options: GroupCommitOptions<Item, Outcome>): GroupCommit<Item, Outcome> {
  let gathered: Entry<Item, Outcome>[] = [];
  let depth = 0;
  let closed = false;
  let whenEmpty: (() => void)[] = [];

  const hasRoom = () => !closed && depth < options.capacity;

  async function handOn(): Promise<void> {
    const batch = gathered;
    gathered = [];
    try {
      const outcomes = await options.commit(batch.map((entry) => entry.item));
      if (outcomes.length !== batch.length) throw new StorageUnavailable('the database failed');
      outcomes.forEach((outcome, index) => batch[index]?.resolve(outcome));
    } catch (error) {
      const reason = error instanceof Error ? error : new Error(String(error));
      for (const entry of batch) entry.reject(reason);
    }
    depth -= batch.length;
    if (depth > 0) return;
    for (const resolve of whenEmpty) resolve();
    whenEmpty = [];
  }

  return {
    add(item) {
      if (!hasRoom()) return Promise.reject(new StorageUnavailable(closed ? 'the storage is closed' : 'the queue is full'));
      depth += 1;
      return new Promise((resolve, reject) => {
        if (gathered.push({ item, resolve, reject }) === 1) setImmediate(handOn);
      });
    },
    hasRoom,
    depth: () => depth,
    async close() {
      closed = true;
      if (depth > 0) await new Promise<void>((resolve) => whenEmpty.push(resolve));
    },
  };
}
