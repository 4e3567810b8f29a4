import { StorageUnavailable, type UnavailableReason } from '../errors.ts';
import { createFairQueue } from './fair-queue.ts';
import type { Arrivals, MessagePage, MessageQuery, Sequence, Stats, Storage, StoredMessages, StoredQuery } from './storage.ts';

/** What can be read, each with its question. */
export type Read =
  | { readonly kind: 'list'; readonly query: MessageQuery }
  | { readonly kind: 'stats' }
  | { readonly kind: 'stored'; readonly query: StoredQuery }
  | { readonly kind: 'newestSequence' }
  | { readonly kind: 'holds'; readonly generation: string; readonly sequence: Sequence }
  | { readonly kind: 'arrivals'; readonly sinceMinute: number };

/** What each kind of read results in. */
interface ReadResults {
  readonly list: MessagePage;
  readonly stats: Stats;
  readonly stored: StoredMessages;
  readonly newestSequence: Sequence;
  readonly holds: boolean;
  readonly arrivals: readonly Arrivals[];
}

/** The result of a read of the same kind. */
export type ReadAnswer = { readonly [Kind in Read['kind']]: { readonly kind: Kind; readonly result: ReadResults[Kind] } }[Read['kind']];

/** Or why there is none. */
export type ReadReply = ReadAnswer | { readonly kind: 'failed'; readonly reason: UnavailableReason };

/**
 * Asks for one read. Rejects with StorageUnavailable where too many of its class wait, or when it waited or took too long, or failed.
 * Those that wait are taken up by turns, client by client.
 */
export type Ask = <Kind extends Read['kind']>(read: Read & { readonly kind: Kind }, client?: string) => Promise<ReadResults[Kind]>;

/** The reading half of a storage, one question each; see `Storage`. `beforeAll`: below every sequence. */
export function createReads(
  ask: Ask, beforeAll: Sequence,
): Pick<Storage, 'list' | 'stats' | 'stored' | 'newestSequence' | 'holds' | 'beforeAll' | 'arrivals'> {
  return {
    list: (query, client) => ask({ kind: 'list', query }, client),
    stats: (client) => ask({ kind: 'stats' }, client),
    stored: (query, client) => ask({ kind: 'stored', query }, client),
    newestSequence: (client) => ask({ kind: 'newestSequence' }, client),
    holds: ({ generation, sequence = beforeAll }, client) => ask({ kind: 'holds', generation, sequence }, client),
    beforeAll,
    arrivals: (sinceMinute, client) => ask({ kind: 'arrivals', sinceMinute }, client),
  };
}

/** Reads that wait for one another: those that are answered at once, those that may take long, those of streams. */
export type ReadClass = 'quick' | 'long' | 'stream';

/** Reads of a class that may wait for its reader; where there is one more, one is refused. Streams have one each. */
const MAX_WAITING: Readonly<Record<ReadClass, number>> = { quick: 256, long: 256, stream: 1024 };
/** An offset that is passed over in a few milliseconds. */
const SMALL_OFFSET = 10_000;

/** A read that waits or is being answered. */
export interface ReadJob {
  readonly read: Read;
  /** When it has to be answered, on the monotonic clock. */
  readonly deadline: number;
  /** The first answer counts. */
  readonly settle: (reply: ReadReply) => void;
}

/** What answers the reads of one class, one at a time, and takes the next by itself. */
export interface Reader {
  /** Resolves when it could answer for the first time, or could not. */
  readonly firstOpened: Promise<void>;
  /** Whether it can answer now. */
  isOpen(): boolean;
  isIdle(): boolean;
  takeNext(): void;
  close(): Promise<void>;
}

export interface Readers {
  readonly ask: Ask;
  /** Reads that no reader has taken up yet. */
  waiting(): number;
  /** Whether one can answer now. */
  anyOpen(): boolean;
  close(): Promise<void>;
}

/**
 * Starts a reader for each class of reads, so that neither quick ones, nor streams, nor senders wait for a search; resolves when each
 * is open or could not be. `timeoutMs` is from a question to its answer, waiting included.
 */
export async function startReaders(
  timeoutMs: number, startReader: (readClass: ReadClass, nextJob: () => ReadJob | undefined) => Reader,
): Promise<Readers> {
  const start = (readClass: ReadClass) => {
    const jobs = createFairQueue<ReadJob>(MAX_WAITING[readClass]);
    return { jobs, reader: startReader(readClass, jobs.next) };
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
        const job: ReadJob = {
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

export const failed = (reason: UnavailableReason): ReadReply => ({ kind: 'failed', reason });

type Answer<Kind extends Read['kind']> = ReadReply & { readonly kind: Kind; readonly result: ReadResults[Kind] };

function isOfKind<Kind extends Read['kind']>(reply: ReadReply, kind: Kind): reply is Answer<Kind> {
  return reply.kind === kind;
}

function classOf(read: Read): ReadClass {
  if (read.kind === 'stored' || read.kind === 'newestSequence' || read.kind === 'holds') return 'stream';
  return read.kind === 'list' && mayTakeLong(read.query) ? 'long' : 'quick';
}

function mayTakeLong({ message_id, q, from, since, offset }: MessageQuery): boolean {
  if (message_id !== undefined) return false;
  return q !== undefined || offset > SMALL_OFFSET || (from !== undefined && since !== undefined);
}
