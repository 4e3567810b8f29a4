import { StorageUnavailable, type UnavailableReason } from '../../errors.ts';
import type { Message } from '../../message.ts';
import type { AppendOutcome, StorageObserver } from '../storage.ts';
import { createProof } from '../write-proof.ts';
import { commit, COMMIT_TIMEOUT_MS } from './commit.ts';
import type { Connection } from './connection.ts';
import { reasonOf } from './reasons.ts';
import { LOOK_AT_READ_ONLY } from './sql.ts';
import { append, APPENDED, change, compare, COMPARED } from './writing-sql.ts';

const LOOK_TIMEOUT_MS = 2000;

export interface Writer {
  /** Commits these with all others that wait. Rejects with StorageUnavailable. */
  commit(messages: readonly Message[]): Promise<readonly AppendOutcome[]>;
  /** Makes a write durable where none was lately or something failed, else looks whether it could. Rejects with StorageUnavailable. */
  probe(): Promise<void>;
}

export interface WriterOptions {
  /** The session to write in, and whether a pooler is in between. Throws StorageUnavailable where there is none. */
  readonly session: () => { readonly connection: Connection; readonly isPooled: boolean };
  /** Milliseconds since 1970. */
  readonly now: () => number;
  readonly observer: Pick<StorageObserver, 'batchCommitted' | 'replicationCut'>;
}

interface Batch {
  /** Messages that came together; none: a probe. */
  readonly messages: readonly Message[];
  resolve(outcomes: readonly AppendOutcome[]): void;
  reject(error: StorageUnavailable): void;
}

/** One transaction at a time, in one round trip: all that comes during one makes up the next. */
export function createWriter(options: WriterOptions): Writer {
  const proof = createProof();
  let waiting: Batch[] = [];
  let isWorking = false;

  function add(messages: readonly Message[]): Promise<readonly AppendOutcome[]> {
    return new Promise((resolve, reject) => {
      waiting.push({ messages, resolve, reject });
      if (!isWorking) void work();
    });
  }

  async function work(): Promise<void> {
    isWorking = true;
    while (waiting.length > 0) {
      const batches = waiting;
      waiting = [];
      try {
        const outcomes = await store(options, batches.flatMap(({ messages }) => messages));
        let begin = 0;
        for (const { messages, resolve } of batches) resolve(outcomes.slice(begin, begin += messages.length));
      } catch (error) {
        const unavailable = new StorageUnavailable(reasonOf(error));
        for (const { reject } of batches) reject(unavailable);
      }
    }
    isWorking = false;
  }

  /** What is being committed tells more. */
  async function look(): Promise<void> {
    if (isWorking) return;
    isWorking = true;
    try {
      await requireWritable(options.session().connection);
    } catch (error) {
      throw new StorageUnavailable(reasonOf(error));
    } finally {
      isWorking = false;
      if (waiting.length > 0) void work();
    }
  }

  return {
    commit: (messages) => proof.ofCommit(add(messages)),
    async probe() {
      const refused: UnavailableReason | undefined = proof.refusedFor();
      if (refused !== undefined) throw new StorageUnavailable(refused);
      if (proof.holds()) await proof.of(look(), false);
      else await proof.of(add([]), true);
    },
  };
}

async function store({ session, now, observer }: WriterOptions, messages: readonly Message[]): Promise<AppendOutcome[]> {
  const beganAt = performance.now();
  const { connection, isPooled } = session();
  const statements = messages.length === 0
    ? change([], COMMIT_TIMEOUT_MS) : append({ messages, receivedAt: now() }, COMMIT_TIMEOUT_MS, isPooled);
  const results = await commit(connection, statements, observer);
  if (messages.length > 0) observer.batchCommitted(messages.length, (performance.now() - beganAt) / 1000);
  const places = results[APPENDED.stored]?.rows[0]?.['places'] ?? null;
  if (places === null) return messages.map(() => 'stored');
  return outcomesOf(connection, messages, new Set(places.split(',').map((place) => Number(place) - 1)));
}

/** A server that has been told to take no writes goes on answering. */
async function requireWritable(connection: Connection): Promise<void> {
  const { results } = await connection.run([LOOK_AT_READ_ONLY], LOOK_TIMEOUT_MS);
  if (results[0]?.rows[0]?.['read_only'] === 'off') return;
  await connection.close();
  throw new StorageUnavailable('no PostgreSQL server takes writes');
}

/** Of each message, in their order: the stored ones by their index, and those that were there before, the same or not. */
async function outcomesOf(connection: Connection, messages: readonly Message[], stored: ReadonlySet<number>): Promise<AppendOutcome[]> {
  const repeats = messages.filter((_, index) => !stored.has(index));
  const { results } = await connection.run(compare(repeats, COMMIT_TIMEOUT_MS), COMMIT_TIMEOUT_MS);
  const same = new Set(results[COMPARED]?.rows.map(({ place }) => repeats[Number(place) - 1]));
  return messages.map((message, index) => {
    if (stored.has(index)) return 'stored';
    return same.has(message) ? 'duplicate' : 'conflicting_duplicate';
  });
}
