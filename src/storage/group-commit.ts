import { StorageUnavailable } from '../errors.ts';

/**
 * Group commit: while one batch is being synced, the next one gathers. A batch is one commit and one sync, and its
 * items are answered after it. No timer and no waiting on purpose: a lone item is committed at once.
 */
export interface GroupCommit<Item, Outcome> {
  /** Resolves with the item's own outcome after its batch committed; rejects where the batch failed, or at once without room. */
  add(item: Item): Promise<Outcome>;
  hasRoom(): boolean;
  /** Items not yet answered. */
  depth(): number;
  /** Takes no more items; resolves when all that were added are answered. */
  close(): Promise<void>;
}

export interface GroupCommitOptions<Item, Outcome> {
  /** Commits a batch and returns the outcome of each item, in the same order. */
  commit(items: readonly Item[]): Promise<readonly Outcome[]>;
  /** Most items not yet answered, those being committed included. */
  readonly capacity: number;
  /** Most items in one batch. */
  readonly maxBatch: number;
}

interface Entry<Item, Outcome> {
  readonly item: Item;
  readonly resolve: (outcome: Outcome) => void;
  readonly reject: (error: Error) => void;
}

export function createGroupCommit<Item, Outcome>(options: GroupCommitOptions<Item, Outcome>): GroupCommit<Item, Outcome> {
  let waiting: Entry<Item, Outcome>[] = [];
  let committing = 0;
  let closed = false;
  let whenEmpty: (() => void)[] = [];

  const depth = () => waiting.length + committing;
  const hasRoom = () => !closed && depth() < options.capacity;

  async function commitAll(): Promise<void> {
    while (waiting.length > 0) {
      const batch = waiting.slice(0, options.maxBatch);
      waiting = waiting.slice(options.maxBatch);
      committing = batch.length;
      await commitBatch(batch);
      committing = 0;
    }
    for (const resolve of whenEmpty) resolve();
    whenEmpty = [];
  }

  async function commitBatch(batch: readonly Entry<Item, Outcome>[]): Promise<void> {
    try {
      const outcomes = await options.commit(batch.map((entry) => entry.item));
      if (outcomes.length !== batch.length) throw new StorageUnavailable('the database failed');
      outcomes.forEach((outcome, index) => batch[index]?.resolve(outcome));
    } catch (error) {
      const reason = error instanceof Error ? error : new Error(String(error));
      for (const entry of batch) entry.reject(reason);
    }
  }

  return {
    add(item) {
      if (!hasRoom()) return Promise.reject(new StorageUnavailable(closed ? 'the storage is closed' : 'the queue is full'));
      return new Promise((resolve, reject) => {
        waiting.push({ item, resolve, reject });
        if (committing === 0) void commitAll();
      });
    },
    hasRoom,
    depth,
    async close() {
      closed = true;
      if (depth() > 0) await new Promise<void>((resolve) => whenEmpty.push(resolve));
    },
  };
}
