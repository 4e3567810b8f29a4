import { setTimeout as delay } from 'node:timers/promises';
import { StorageUnavailable } from '../../../errors.ts';
import type { Erasure, Storage, StorageObserver, StorageOptions } from '../../storage.ts';
import type { ErasureProgress } from '../file/hiding.ts';
import type { TakenOut } from '../file/removal.ts';
import type { RemovalStep, StepDone } from './protocol.ts';
import type { Writer } from './writer.ts';

/** How often it is looked what has to vanish, and how soon what failed is tried again. */
const LOOK_EVERY_MS = 1000;
/** Half a million messages are hidden by then. More must not keep the port closed. */
const WAIT_FOR_EXPIRY_MS = 500;
/** After a step that removes rows the writer is left to others for so many times as long as that took. */
const REST_FACTOR = 3;
/** A step waits so long for a lock of another process, and so often looks whether it is free. */
const LOCK_PATIENCE_MS = 3000;
const LOCKED_RETRY_MS = 50;

/** What decides when messages are hidden and when their rows are removed, a step of the writer at a time. */
export interface Removals {
  /** Resolves once what has expired while nothing ran is hidden, could not be, or takes longer. */
  readonly firstExpired: Promise<void>;
  readonly erase: Storage['erase'];
  /** Tells up to where hidden messages are not in the read index: their rows can go. */
  takenOut(takenOut: TakenOut): void;
  close(): void;
}

export interface RemovalOptions {
  readonly step: Writer['step'];
  readonly retention: StorageOptions['retention'];
  readonly now: StorageOptions['now'];
  /** Told after each step that has hidden messages. */
  readonly onHidden: () => void;
  readonly observer: StorageObserver;
}

export function startRemovals({ step, retention, now, onHidden, observer }: RemovalOptions): Removals {
  let closed = false;
  let isExpiring = false;
  const removing = createRemoving({ step, retention, now, observer });

  async function hide(next: RemovalStep): Promise<StepDone> {
    const done = await whenUnlocked(() => step(next));
    if (done.messages > 0) onHidden();
    return done;
  }
  async function expire(): Promise<void> {
    if (isExpiring) return;
    isExpiring = true;
    try {
      for (let isDone = false; !isDone && !closed;) {
        const at = now();
        ({ isDone } = await hide({ kind: 'expire', before: retention.keepMs === null ? null : at - retention.keepMs, now: at }));
      }
      observer.failing('retention', null);
    } catch (error) {
      if (!closed) observer.failing('retention', reasonOf(error));
    } finally {
      isExpiring = false;
    }
  }
  const firstExpired = Promise.race([expire(), delay(WAIT_FOR_EXPIRY_MS, undefined, { ref: false })]);
  const timer = setInterval(() => void expire(), LOOK_EVERY_MS);

  return {
    firstExpired,
    async erase(which: Erasure, requestId: string) {
      let messages = 0;
      let progress: ErasureProgress | null = null;
      for (let isDone = false; !isDone;) {
        if (closed) throw new StorageUnavailable('the storage is closed');
        const next = { kind: 'erase', which, requestId, at: now(), progress } as const;
        const done: StepDone = await hide(next);
        messages += done.messages;
        ({ isDone, progress } = done);
      }
      return messages;
    },
    takenOut: removing.begin,
    close() {
      closed = true;
      clearInterval(timer);
      removing.close();
    },
  };
}

/** Removes rows, with rests, whenever some more may be removed. */
function createRemoving({ step, retention, now, observer }: Omit<RemovalOptions, 'onHidden'>) {
  let allowed: TakenOut | undefined;
  let isRunning = false;
  const closing = new AbortController();

  async function removeAll(): Promise<void> {
    while (allowed !== undefined && !closing.signal.aborted) {
      const began = performance.now();
      const takenOut = allowed;
      const at = now();
      const request = { kind: 'remove', ...takenOut, now: at, rememberUntil: at + retention.rememberMs } as const;
      const { messages, isDone } = await whenUnlocked(() => step(request));
      if (isDone && allowed === takenOut) return;
      if (messages > 0) await delay(REST_FACTOR * (performance.now() - began), undefined, { signal: closing.signal });
    }
  }
  return {
    async begin(takenOut: TakenOut): Promise<void> {
      const isMore = takenOut.expiredThrough !== allowed?.expiredThrough || takenOut.erasedThrough !== allowed.erasedThrough;
      if (!isMore) return;
      allowed = takenOut;
      if (isRunning) return;
      isRunning = true;
      try {
        await removeAll();
        observer.failing('removal', null);
      } catch (error) {
        // The next time that the index is looked at.
        allowed = undefined;
        if (!closing.signal.aborted) observer.failing('removal', reasonOf(error));
      } finally {
        isRunning = false;
      }
    },
    close: () => closing.abort(),
  };
}

const reasonOf = (error: unknown) => (error instanceof StorageUnavailable ? error.reason : 'the database failed');

/** Within the writer steps wait for no lock, so that no acknowledgement has to wait for them. */
async function whenUnlocked<Result>(work: () => Promise<Result>): Promise<Result> {
  const deadline = performance.now() + LOCK_PATIENCE_MS;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (reasonOf(error) !== 'the database is locked by another process' || performance.now() > deadline) throw error;
      await delay(LOCKED_RETRY_MS);
    }
  }
}
