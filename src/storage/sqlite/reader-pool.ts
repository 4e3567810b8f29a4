import type { Worker } from 'node:worker_threads';
import { StorageUnavailable } from '../../errors.ts';
import { describeError } from '../../observe/log.ts';
import type { StorageObserver } from '../storage.ts';
import type { ReaderMessage, ReaderReply, ReaderRequest } from './protocol.ts';
import { startThread } from './thread.ts';

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
const FIRST_RESTART_MS = 100;
const LONGEST_RESTART_MS = 10_000;

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

/** Keeps one reader thread alive: a dead one is replaced, later each time it dies again without an answer between. */
function startReader(path: string, nextJob: () => Job | undefined, observer: StorageObserver): Reader {
  let current: Job | undefined;
  let restartMs = FIRST_RESTART_MS;
  let restartTimer: NodeJS.Timeout | undefined;
  let closed = false;
  let isOpen = false;
  const firstOpened = Promise.withResolvers<void>();
  let thread: Worker = start();

  function start(): Worker {
    const started = startThread('reader', { path });
    started.on('message', (message: ReaderMessage) => {
      if (message.kind === 'opened') {
        isOpen = true;
        firstOpened.resolve();
      } else {
        restartMs = FIRST_RESTART_MS;
        finish(message);
      }
      takeNext();
    });
    started.on('error', (error) => observer.notice('ERROR', 'reader_died', describeError(error)));
    started.on('exit', () => {
      isOpen = false;
      firstOpened.resolve();
      finish({ kind: 'failed', reason: 'a reader failed' });
      if (closed) return;
      restartTimer = setTimeout(() => { thread = start(); }, restartMs);
      restartMs = Math.min(restartMs * 2, LONGEST_RESTART_MS);
    });
    return started;
  }

  function finish(reply: ReaderReply): void {
    current?.settle(reply);
    current = undefined;
  }

  function takeNext(): void {
    current = nextJob();
    if (current !== undefined) thread.postMessage(current.request);
  }

  return {
    firstOpened: firstOpened.promise,
    isOpen: () => isOpen,
    isIdle: () => isOpen && current === undefined,
    takeNext,
    async close() {
      closed = true;
      clearTimeout(restartTimer);
      await thread.terminate();
    },
  };
}
