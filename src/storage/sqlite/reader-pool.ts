import { StorageUnavailable } from '../../errors.ts';
import type { StorageObserver } from '../storage.ts';
import type { ReaderMessage, ReaderReply, ReaderRequest } from './protocol.ts';
import { keepThread } from './thread.ts';

/** Reads run on threads of their own, so that no query can delay an acknowledgement. */
export interface ReaderPool {
  /** Rejects with StorageUnavailable at once where too many reads wait, or when the read took too long or failed. */
  ask(request: ReaderRequest): Promise<Exclude<ReaderReply, { kind: 'failed' }>>;
  /** Reads that no thread has taken up yet. */
  waiting(): number;
  /** Whether a thread has the database open. */
  anyOpen(): boolean;
  close(): Promise<void>;
}

const READER_THREADS = 2;
/** Reads that may wait for a thread; one more is answered 503. */
const MAX_WAITING_READS = 256;

interface Job {
  readonly request: ReaderRequest;
  readonly settle: (reply: ReaderReply) => void;
}

/**
 * Starts the reader threads; resolves when each has the database open or has ended without. `timeoutMs` is from a question
 * to its answer, waiting included.
 */
export async function startReaders(path: string, timeoutMs: number, observer: StorageObserver): Promise<ReaderPool> {
  const jobs: Job[] = [];
  let closed = false;
  const readers = Array.from({ length: READER_THREADS }, () => startReader(path, () => jobs.shift(), observer));
  await Promise.all(readers.map((reader) => reader.firstOpened));

  return {
    ask(request) {
      if (closed) return Promise.reject(new StorageUnavailable('the storage is closed'));
      if (jobs.length >= MAX_WAITING_READS) return Promise.reject(new StorageUnavailable('too many reads are waiting'));
      return new Promise((resolve, reject) => {
        const job: Job = {
          request,
          settle(reply) {
            clearTimeout(timer);
            if (reply.kind === 'failed') reject(new StorageUnavailable(reply.reason));
            else resolve(reply);
          },
        };
        const timer = setTimeout(() => {
          const position = jobs.indexOf(job);
          if (position !== -1) jobs.splice(position, 1);
          job.settle({ kind: 'failed', reason: 'a read took too long' });
        }, timeoutMs);
        jobs.push(job);
        readers.find((reader) => reader.isIdle())?.takeNext();
      });
    },
    waiting: () => jobs.length,
    anyOpen: () => readers.some((reader) => reader.isOpen()),
    async close() {
      closed = true;
      for (const job of jobs.splice(0)) job.settle({ kind: 'failed', reason: 'the storage is closed' });
      await Promise.all(readers.map((reader) => reader.close()));
    },
  };
}

interface Reader {
  /** Resolves when the first thread has the database open, or has ended without. */
  readonly firstOpened: Promise<void>;
  isOpen(): boolean;
  isIdle(): boolean;
  takeNext(): void;
  close(): Promise<void>;
}

function startReader(path: string, nextJob: () => Job | undefined, observer: StorageObserver): Reader {
  let current: Job | undefined;
  let isOpen = false;
  const firstOpened = Promise.withResolvers<void>();
  const thread = keepThread<ReaderMessage>({
    script: 'reader', path, observer,
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
      finish({ kind: 'failed', reason: 'a reader failed' });
    },
  });

  function finish(reply: ReaderReply): void {
    current?.settle(reply);
    current = undefined;
  }

  function takeNext(): void {
    current = nextJob();
    if (current !== undefined) thread.post(current.request);
  }

  return {
    firstOpened: firstOpened.promise,
    isOpen: () => isOpen,
    isIdle: () => isOpen && current === undefined,
    takeNext,
    close: thread.close,
  };
}
