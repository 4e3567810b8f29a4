import type { StorageObserver } from '../../storage.ts';
import { failed, type ReadJob, type Reader, type ReadReply } from '../../reads.ts';
import { keepThread } from '../thread.ts';
import type { ReaderData, ReaderMessage, ReaderRequest } from './protocol.ts';

/**
 * Starts a reader thread, so that no query can delay an acknowledgement. It answers one job at a time, and takes the next from `nextJob`
 * by itself; a thread that dies is replaced.
 */
export function startReader(workerData: ReaderData, nextJob: () => ReadJob | undefined, observer: StorageObserver): Reader {
  let current: ReadJob | undefined;
  let isOpen = false;
  const firstOpened = Promise.withResolvers<void>();
  const thread = keepThread<ReaderMessage>({
    name: 'reader', beside: import.meta.url, workerData, observer,
    onMessage(message) {
      if (message.kind === 'opened') {
        isOpen = true;
        firstOpened.resolve();
      } else {
        finish(message);
      }
      takeNext();
    },
    onEnded() {
      isOpen = false;
      firstOpened.resolve();
      finish(failed('a reader failed'));
    },
  });

  function finish(reply: ReadReply): void {
    current?.settle(reply);
    current = undefined;
  }

  function takeNext(): void {
    current = nextJob();
    if (current === undefined) return;
    thread.post({ read: current.read, timeoutMs: current.deadline - performance.now() } satisfies ReaderRequest);
  }

  return {
    firstOpened: firstOpened.promise,
    isOpen: () => isOpen,
    isIdle: () => isOpen && current === undefined,
    takeNext,
    close() {
      finish(failed('the storage is closed'));
      return thread.close();
    },
  };
}
