/** Takes messages out: those that somebody has erased, and those that are older than they may become. */
import { setTimeout as delay } from 'node:timers/promises';
import { StorageUnavailable } from '../../errors.ts';
import type { Erasure, StorageObserver, StorageOptions } from '../storage.ts';
import type { Result, Row } from './answers.ts';
import { commit, COMMIT_TIMEOUT_MS } from './commit.ts';
import type { Connection, Statement } from './connection.ts';
import { kindOf } from './failures.ts';
import { reasonOf } from './reasons.ts';
import { BEFORE_LOWEST, find, forget, hasForgettable, type IdRange, remove, type ErasureNote, type Removal } from './removal-sql.ts';
import { inSnapshot, READ_INBOX, resultsOfReads } from './sql.ts';
import { APPENDED, change } from './writing-sql.ts';

/** Removed in one transaction, which a batch of messages may have to wait for. */
const STEP_ROWS = 500;
/** Ids that are found at once, so that one who looks for many does not pass over what is gone for each step. */
const FIND_ROWS = 10_000;
/** Ids that are looked through at once for those without an index: some ten milliseconds. */
const WALK_IDS = 50_000n;
const FIND_TIMEOUT_MS = 4000;
const SWEEP_EVERY_MS = 1000;

export interface RemoverOptions extends Pick<StorageOptions, 'now' | 'retention'> {
  /** The session to do it in. Throws StorageUnavailable where there is none. */
  readonly connection: () => Connection;
  readonly isConnected: () => boolean;
  readonly observer: Pick<StorageObserver, 'replicationCut' | 'failing'>;
}

export interface Remover {
  /** As `Storage` has it. */
  erase(which: Erasure, requestId: string): Promise<number>;
  /** Resolves once the step of now is done. What goes on then rejects. */
  close(): Promise<void>;
}

/** Erases, and sweeps out what has expired, in steps of one transaction each, one at a time. */
export function createRemover(options: RemoverOptions): Remover {
  const steps = createSteps(options);
  const sweeping = startSweeping(options, steps);
  return {
    erase: (which, requestId) => erase(options, steps, which, requestId),
    async close() {
      await Promise.all([sweeping.stop(), steps.close()]);
    },
  };
}

type Steps = ReturnType<typeof createSteps>;

/** What is done of all removals together, one thing at a time. Each rejects with StorageUnavailable, and as `run` does. */
function createSteps({ connection, observer }: RemoverOptions) {
  let last: Promise<unknown> = Promise.resolve();
  let isClosed = false;

  function inTurn<Value>(work: () => Promise<Value>): Promise<Value> {
    const done = last.then(() => {
      if (isClosed) throw new StorageUnavailable('the storage is closed');
      return work();
    });
    last = done.catch(() => {});
    return done;
  }

  return {
    /** The row of `inbox`, and what one statement reads. */
    read: (statement: Statement) => inTurn(async (): Promise<{ readonly inbox: Row; readonly rows: readonly Row[] }> => {
      const { results } = await connection().run(inSnapshot([statement], FIND_TIMEOUT_MS), FIND_TIMEOUT_MS);
      const inbox = results[READ_INBOX]?.rows[0];
      if (inbox === undefined) throw new StorageUnavailable('the tables are of another version');
      return { inbox, rows: resultsOfReads(results)[0]?.rows ?? [] };
    }),
    /** Commits one statement. */
    write: (statement: Statement) => inTurn(async (): Promise<Result> => {
      const results = await commit(connection(), change([statement], COMMIT_TIMEOUT_MS), observer);
      const result = results[APPENDED.lock + 1];
      if (result === undefined) throw new StorageUnavailable('the database failed');
      return result;
    }),
    async close() {
      isClosed = true;
      await last;
    },
  };
}

interface RemovalStep {
  /** Of the messages. */
  readonly ids: readonly string[];
  /** Removes those that are still there, and resolves with how many that were. */
  remove(until: number | null, note: ErasureNote | null): Promise<number>;
}

/** The steps of a removal, each to be taken before the next is asked for. */
async function* stepsOf({ read, write }: Steps, removal: Removal, range: IdRange): AsyncGenerator<RemovalStep> {
  for (let found = FIND_ROWS; found === FIND_ROWS;) {
    const { rows } = await read(find(removal, range, FIND_ROWS));
    const all = rows.flatMap(({ id }) => id ?? []);
    for (let begin = 0; begin < all.length; begin += STEP_ROWS) {
      const ids = all.slice(begin, begin + STEP_ROWS);
      yield { ids, remove: async (until, note) => Number((await write(remove(ids, until, note))).rows[0]?.['removed']) };
    }
    found = all.length;
  }
}

/** Of all ids those that are looked through at once. */
function* rangesOf(which: Erasure, { after, through }: IdRange): Generator<IdRange> {
  if ('to' in which) for (; after + WALK_IDS < through; after += WALK_IDS) yield { after, through: after + WALK_IDS };
  yield { after, through };
}

/**
 * Each step is noted in its own transaction: what is erased has its note, however far it comes. One without messages is noted too, and so
 * written: where another call has just erased them, and that is not known to be replicated, this one waits for it.
 */
async function erase({ now }: RemoverOptions, steps: Steps, which: Erasure, requestId: string): Promise<number> {
  const note = { requestId, at: now() };
  try {
    const { inbox, rows: [lowest] } = await steps.read(BEFORE_LOWEST);
    const all = { after: BigInt(lowest?.['id'] ?? 0), through: BigInt(inbox['newest'] ?? 0) };
    let erased = 0;
    let isNoted = false;
    for (const range of Object.values(which).join().includes('\0') ? [] : rangesOf(which, all)) {
      for await (const step of stepsOf(steps, which, range)) {
        erased += await step.remove(null, note);
        isNoted = true;
      }
    }
    if (!isNoted) await steps.write(remove([], null, note));
    return erased;
  } catch (error) {
    throw new StorageUnavailable(reasonOf(error));
  }
}

const ALL_IDS: IdRange = { after: 0n, through: 2n ** 63n - 1n };

/** Once a second what has expired is removed, and what need not be known any more forgotten. */
function startSweeping({ now, retention: { keepMs, rememberMs }, isConnected, observer }: RemoverOptions, steps: Steps) {
  const stopped = new AbortController();
  const pause = (ms: number) => delay(ms, undefined, { signal: stopped.signal, ref: false });

  /** Ends where another receiver is at it too, and leaves it to that. After each step there is as much time for others as it took. */
  async function expire(keepMs: number): Promise<void> {
    for await (const step of stepsOf(steps, { receivedBefore: now() - keepMs }, ALL_IDS)) {
      const beganAt = performance.now();
      if (await step.remove(now() + rememberMs, null) < step.ids.length) return;
      await pause(performance.now() - beganAt);
    }
  }

  async function forgetSome(): Promise<void> {
    const { rows: [row] } = await steps.read(hasForgettable(now()));
    if (row?.['has_some'] !== 't') return;
    while ((await steps.write(forget(now(), STEP_ROWS))).affected === STEP_ROWS) await pause(0);
  }

  async function sweep(): Promise<void> {
    if (!isConnected()) return;
    try {
      if (keepMs !== null) await expire(keepMs);
      await forgetSome();
      observer.failing('retention', null);
    } catch (error) {
      // That a server is lost is told elsewhere.
      if (!stopped.signal.aborted && kindOf(error) === 'other') observer.failing('retention', reasonOf(error));
    }
  }

  async function goOn(): Promise<void> {
    while (!stopped.signal.aborted) {
      await sweep();
      await pause(SWEEP_EVERY_MS).catch(() => {});
    }
  }
  const swept = goOn();
  return {
    async stop() {
      stopped.abort();
      await swept;
    },
  };
}
