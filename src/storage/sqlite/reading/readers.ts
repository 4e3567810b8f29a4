import { StorageUnavailable, type UnavailableReason } from '../../../errors.ts';
import { createFairQueue } from '../../fair-queue.ts';
import type { MessageQuery, StorageObserver } from '../../storage.ts';
import type { GatedData } from '../snapshot-gate.ts';
import { keepThread } from '../thread.ts';
import type { Read, ReaderData, ReaderMessage, ReaderReply, ReadResults } from './protocol.ts';

/** Reads run on threads of their own, so that no query can delay an acknowledgement. */
export interface ReaderPool {
  /**
   * Rejects with StorageUnavailable where too many reads of its class wait, or when the read waited or took too long, or failed. Those that
   * wait are taken up by turns, client by client.
   */
  ask<Kind extends Read['kind']>(read: Read & { readonly kind: Kind }, client?: string): Promise<ReadResults[Kind]>;
  /** Reads that no thread has taken up yet. */
  waiting(): number;
  /** Whether a thread has the database open. */
  anyOpen(): boolean;
  close(): Promise<void>;
}

/** Reads that wait for one another: those that are answered at once, those that may take long, those of streams. */
type ReadClass = 'quick' | 'long' | 'stream';

/** Reads of a class that may wait for its thread; where there is one more, one is refused. Streams have one each. */
const MAX_WAITING: Readonly<Record<ReadClass, number>> = { quick: 256, long: 256, stream: 1024 };
/** An offset that is passed over in a few milliseconds. */
const SMALL_OFFSET = 10_000;

interface Job {
  readonly read: Read;
  /** When it has to be answered, on the monotonic clock. */
  readonly deadline: number;
  readonly settle: (reply: ReaderReply) => void;
}

/**
 * Starts a thread for each class of reads, so that neither quick ones, nor streams, nor senders wait for a search; resolves when each
 * has the database open or has ended without. `timeoutMs` is from a question to its answer, waiting included.
 */
export async function startReaders({ path, gate }: GatedData, timeoutMs: number, observer: StorageObserver): Promise<ReaderPool> {
  const start = (readClass: ReadClass) => {
    const jobs = createFairQueue<Job>(MAX_WAITING[readClass]);
    return { jobs, reader: startReader({ path, gate, givesWay: readClass === 'long' }, jobs.next, observer) };
  };
  const queues = { quick: start('quick'), long: start('long'), stream: start('stream') };
  const all = Object.values(queues);
  let closed = false;
  await Promise.all(all.map(({ reader }) => reader.firstOpened));

  return {
    ask(read, client = '') {
      if (closed) return Promise.reject(new StorageUnavailable('the storage is closed'));
      const { jobs, reader } = queues[classOf(read)];
      return new Promise((resolve, reject) => {
        const job: Job = {
          read,
          deadline: performance.now() + timeoutMs,
          settle(reply) {
            clearTimeout(timer);
            if (isOfKind(reply, read.kind)) resolve(reply.result);
            else reject(new StorageUnavailable(reply.kind === 'failed' ? reply.reason : 'a reader failed'));
          },
        };
        const timer = setTimeout(() => {
          if (!jobs.remove(job)) job.settle(failed('a read took too long'));
          else job.settle(failed(reader.isOpen() ? 'a read waited too long' : 'a reader failed'));
        }, timeoutMs);
        jobs.add(job, client)?.settle(failed('too many reads are waiting'));
        if (reader.isIdle()) reader.takeNext();
      });
    },
    waiting: () => all.reduce((sum, { jobs }) => sum + jobs.size(), 0),
    anyOpen: () => all.some(({ reader }) => reader.isOpen()),
    async close() {
      closed = true;
      for (const { jobs } of all) {
        for (let job = jobs.next(); job !== undefined; job = jobs.next()) job.settle(failed('the storage is closed'));
      }
      await Promise.all(all.map(({ reader }) => reader.close()));
    },
  };
}

const failed = (reason: UnavailableReason): ReaderReply => ({ kind: 'failed', reason });

type Answer<Kind extends Read['kind']> = ReaderReply & { readonly kind: Kind; readonly result: ReadResults[Kind] };

function isOfKind<Kind extends Read['kind']>(reply: ReaderReply, kind: Kind): reply is Answer<Kind> {
  return reply.kind === kind;
}

/** Which thread it is for. */
function classOf(read: Read): ReadClass {
  if (read.kind === 'stored' || read.kind === 'newestSequence' || read.kind === 'holds') return 'stream';
  return read.kind === 'list' && mayTakeLong(read.query) ? 'long' : 'quick';
}

function mayTakeLong({ q, from, since, offset }: MessageQuery): boolean {
  return q !== undefined || offset > SMALL_OFFSET || (from !== undefined && since !== undefined);
}

interface Reader {
  /** Resolves when the first thread has the database open, or has ended without. */
  readonly firstOpened: Promise<void>;
  isOpen(): boolean;
  isIdle(): boolean;
  takeNext(): void;
  close(): Promise<void>;
}

function startReader(workerData: ReaderData, nextJob: () => Job | undefined, observer: StorageObserver): Reader {
  let current: Job | undefined;
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

  function finish(reply: ReaderReply): void {
    current?.settle(reply);
    current = undefined;
  }

  function takeNext(): void {
    current = nextJob();
    if (current !== undefined) thread.post({ read: current.read, timeoutMs: current.deadline - performance.now() });
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
