import { StorageUnavailable } from '../../errors.ts';
import type { StorageObserver } from '../storage.ts';
import type { GatedData, Read, ReaderData, ReaderMessage, ReaderReply, ReadResults } from './protocol.ts';
import { keepThread } from './thread.ts';

/** Reads run on threads of their own, so that no query can delay an acknowledgement. */
export interface ReaderPool {
  /** Rejects with StorageUnavailable at once where too many reads wait, or when the read took too long or failed. */
  ask<Kind extends Read['kind']>(read: Read & { readonly kind: Kind }): Promise<ReadResults[Kind]>;
  /** Reads that no thread has taken up yet. */
  waiting(): number;
  /** Whether a thread has the database open. */
  anyOpen(): boolean;
  close(): Promise<void>;
}

/** Reads that may wait for a thread; one more is answered 503. */
const MAX_WAITING_READS = 256;
/** An offset that is passed over in a few milliseconds. */
const SMALL_OFFSET = 10_000;

interface Job {
  readonly read: Read;
  readonly settle: (reply: ReaderReply) => void;
}

/**
 * Starts two threads, one for quick reads and one for those that may take long, so that neither those nor senders wait for a
 * search; resolves when each has the database open or has ended without. `timeoutMs` is from a question to its answer, waiting included.
 */
export async function startReaders(
  { path, gate }: GatedData, timeoutMs: number, observer: StorageObserver,
): Promise<ReaderPool> {
  const quick = createQueue((nextJob) => startReader({ path, gate, givesWay: false }, nextJob, timeoutMs, observer));
  const long = createQueue((nextJob) => startReader({ path, gate, givesWay: true }, nextJob, timeoutMs, observer));
  const queues = [quick, long];
  const waiting = () => quick.jobs.length + long.jobs.length;
  let closed = false;
  await Promise.all(queues.map(({ reader }) => reader.firstOpened));

  return {
    ask(read) {
      if (closed) return Promise.reject(new StorageUnavailable('the storage is closed'));
      if (waiting() >= MAX_WAITING_READS) return Promise.reject(new StorageUnavailable('too many reads are waiting'));
      const { jobs, reader } = mayTakeLong(read) ? long : quick;
      return new Promise((resolve, reject) => {
        const job: Job = {
          read,
          settle(reply) {
            clearTimeout(timer);
            if (isOfKind(reply, read.kind)) resolve(reply.result);
            else reject(new StorageUnavailable(reply.kind === 'failed' ? reply.reason : 'a reader failed'));
          },
        };
        const timer = setTimeout(() => {
          const position = jobs.indexOf(job);
          if (position !== -1) jobs.splice(position, 1);
          job.settle({ kind: 'failed', reason: 'a read took too long' });
        }, timeoutMs);
        jobs.push(job);
        if (reader.isIdle()) reader.takeNext();
      });
    },
    waiting,
    anyOpen: () => queues.some(({ reader }) => reader.isOpen()),
    async close() {
      closed = true;
      for (const { jobs } of queues) for (const job of jobs.splice(0)) job.settle({ kind: 'failed', reason: 'the storage is closed' });
      await Promise.all(queues.map(({ reader }) => reader.close()));
    },
  };
}

type Answer<Kind extends Read['kind']> = ReaderReply & { readonly kind: Kind; readonly result: ReadResults[Kind] };

function isOfKind<Kind extends Read['kind']>(reply: ReaderReply, kind: Kind): reply is Answer<Kind> {
  return reply.kind === kind;
}

function mayTakeLong(read: Read): boolean {
  if (read.kind === 'stored') return read.query.from !== undefined || read.query.q !== undefined;
  if (read.kind !== 'list') return false;
  const { q, from, since, offset } = read.query;
  return q !== undefined || offset > SMALL_OFFSET || (from !== undefined && since !== undefined);
}

function createQueue(start: (nextJob: () => Job | undefined) => Reader) {
  const jobs: Job[] = [];
  return { jobs, reader: start(() => jobs.shift()) };
}

interface Reader {
  /** Resolves when the first thread has the database open, or has ended without. */
  readonly firstOpened: Promise<void>;
  isOpen(): boolean;
  isIdle(): boolean;
  takeNext(): void;
  close(): Promise<void>;
}

function startReader(workerData: ReaderData, nextJob: () => Job | undefined, timeoutMs: number, observer: StorageObserver): Reader {
  let current: Job | undefined;
  let isOpen = false;
  const firstOpened = Promise.withResolvers<void>();
  const thread = keepThread<ReaderMessage>({
    script: 'reader', workerData, observer,
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
    if (current !== undefined) thread.post({ read: current.read, timeoutMs });
  }

  return {
    firstOpened: firstOpened.promise,
    isOpen: () => isOpen,
    isIdle: () => isOpen && current === undefined,
    takeNext,
    close: thread.close,
  };
}
