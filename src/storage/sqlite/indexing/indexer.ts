import type { UnavailableReason } from '../../../errors.ts';
import type { StorageObserver } from '../../storage.ts';
import type { Opened } from '../file/open.ts';
import type { TakenOut } from '../file/removal.ts';
import type { GatedData } from '../snapshot-gate.ts';
import { keepThread } from '../thread.ts';
import type { IndexerMessage, IndexerRequest } from './protocol.ts';
import { MOST_UNINDEXED } from './schema.ts';

/** The main thread's hold on the indexer thread, and what decides when that works. */
export interface Indexer {
  /** Tells that so many messages were stored. */
  stored(messages: number): void;
  /** Tells that messages were hidden: each read looks at those that are in the index. */
  hidden(): void;
  /** Tells that a read has ended. */
  readEnded(): void;
  /** Tells that a read has met damage: where that is in the index, it is made anew. */
  distrust(): void;
  /** Stored messages that are not in the index yet. Reads look at each of those. */
  lag(): number;
  /** How much of the messages is in the index, in whole percent. */
  percent(): number;
  /** Why reads cannot use the index now, or undefined where they can. */
  unusable(): UnavailableReason | undefined;
  close(): Promise<void>;
}

/** So many new messages are worth a transaction: the fewer, the more of the same pages each of them writes again. */
const WORTH_INDEXING = 16_384;
/** Fewer wait so long at most. */
const WAIT_MS = 1000;
/** Each read looks at each message that is not in the index, a microsecond or two each. So many are taken in once a read has ended. */
const MANY_FOR_A_READ = 1500;
/** How often it is looked whether the index is still there, where nothing is to be done. */
const LOOK_MS = 2000;
/** Between tries, at first and at last. */
const RETRY_MS = 1000;
const LONGEST_RETRY_MS = 60_000;
/** Looking for damage reads all of the index. */
const DISTRUST_AGAIN_MS = 15_000;

/** An index that can be used is open by then. One that is locked, or large and to be removed, must not keep the port closed. */
const WAIT_FOR_OPENING_MS = 300;

/**
 * Starts the indexer thread, and resolves once it has opened the index, could not, or takes longer. From then on it is brought up to
 * date, and made anew where it cannot be used, while the service goes on: never rejects. `onTakenOut` is told up to where hidden messages
 * are not in it, each time before it takes in others.
 */
export async function startIndexer(
  data: GatedData, { messages, vanished }: Pick<Opened, 'messages' | 'vanished'>, observer: StorageObserver,
  onTakenOut: (takenOut: TakenOut) => void,
): Promise<Indexer> {
  const firstKnown = Promise.withResolvers<void>();
  const post = (request: IndexerRequest) => thread.post(request);
  const schedule = createSchedule(messages, () => post({ kind: 'index' }));
  const state = createState(schedule, observer, vanished, onTakenOut);
  let distrustedAt = -Infinity;
  let closed = false;
  const thread = keepThread<IndexerMessage>({
    name: 'indexer', beside: import.meta.url, workerData: data, observer,
    onMessage(message) {
      if (message.kind === 'started') return void setTimeout(firstKnown.resolve, WAIT_FOR_OPENING_MS).unref();
      state.heard(message);
      firstKnown.resolve();
    },
    onEnded() {
      if (!closed) state.heard({ kind: 'failed', reason: 'the indexer thread died', isLost: false });
      firstKnown.resolve();
    },
  });
  await firstKnown.promise;

  return {
    stored: schedule.stored,
    hidden: schedule.hidden,
    readEnded: schedule.readEnded,
    distrust() {
      if (performance.now() - distrustedAt < DISTRUST_AGAIN_MS) return;
      distrustedAt = performance.now();
      post({ kind: 'verify' });
    },
    lag: schedule.lag,
    percent: schedule.percent,
    unusable: state.unusable,
    async close() {
      closed = true;
      schedule.stop();
      await thread.close();
    },
  };
}

/** What is known of the index, from what its thread tells. */
function createState(schedule: Schedule, observer: StorageObserver, vanished: number, onTakenOut: (takenOut: TakenOut) => void) {
  let isOpen = false;
  let isComplete = true;
  let failing: UnavailableReason | undefined;

  const fail = (reason: UnavailableReason | undefined): void => {
    failing = reason;
    observer.failing('index', reason ?? null);
  };
  const lose = (reason: UnavailableReason): void => {
    isOpen = false;
    schedule.progressed(0);
    fail(reason);
  };
  const opened = (indexed: number): void => {
    isOpen = true;
    fail(undefined);
    schedule.progressed(indexed);
    isComplete = indexed > 0 || schedule.lag() === 0;
    if (!isComplete) observer.notice('INFO', 'index_made_anew', { rows: schedule.lag() });
  };
  const indexing = (indexed: number): void => {
    schedule.progressed(indexed);
    observer.notice('INFO', 'indexing', { rows_done: indexed, rows: indexed + schedule.lag() });
  };
  const upToDate = (indexed: number): void => {
    schedule.indexed(indexed);
    fail(undefined);
    if (!isComplete) observer.notice('INFO', 'index_complete', { rows: indexed });
    isComplete = true;
  };
  return {
    heard(message: Exclude<IndexerMessage, { kind: 'started' }>): void {
      switch (message.kind) {
        // What had vanished at the start is not among those that are counted here.
        case 'opened': return opened(message.indexed - vanished);
        case 'indexing': return indexing(message.indexed - vanished);
        case 'takenOut': return onTakenOut(message.takenOut);
        case 'indexed': return upToDate(message.indexed - vanished);
        case 'failed':
          if (message.isLost) lose(message.reason);
          else fail(message.reason);
          return schedule.retry();
        default: return message satisfies never;
      }
    },
    unusable(): UnavailableReason | undefined {
      if (isOpen && schedule.lag() < MOST_UNINDEXED) return undefined;
      return failing ?? 'the read index is being made';
    },
  };
}

type Schedule = ReturnType<typeof createSchedule>;

/** Asks for the index to be brought up to date, once at a time, when enough has come or has waited long enough. */
function createSchedule(storedBefore: number, ask: () => void) {
  let stored = storedBefore;
  let indexed = 0;
  let asked = true;
  /** Since it was asked last. */
  let areHidden = false;
  let timer: NodeJS.Timeout | undefined;
  let isStopped = false;
  let retryMs = RETRY_MS;

  const askAfter = (delayMs: number): void => {
    clearTimeout(timer);
    if (!isStopped) timer = setTimeout(askNow, delayMs);
  };
  const askNow = (): void => {
    clearTimeout(timer);
    [asked, areHidden] = [true, false];
    ask();
  };
  const lag = () => Math.max(0, stored - indexed);
  const askFrom = (worthIt: number): void => {
    if (!asked && lag() >= worthIt) askNow();
  };
  return {
    stored(messages: number): void {
      const wasIdle = lag() === 0;
      stored += messages;
      if (!asked && wasIdle && messages > 0) askAfter(WAIT_MS);
      askFrom(WORTH_INDEXING);
    },
    hidden(): void {
      areHidden = true;
      askFrom(0);
    },
    readEnded: () => askFrom(MANY_FOR_A_READ),
    /** How many messages are in the index while it is worked on. */
    progressed(messages: number): void {
      indexed = messages;
    },
    /** The answer: how many messages are in the index. */
    indexed(messages: number): void {
      indexed = messages;
      asked = false;
      retryMs = RETRY_MS;
      askAfter(lag() > 0 ? WAIT_MS : LOOK_MS);
      askFrom(areHidden ? 0 : WORTH_INDEXING);
    },
    /** Each time in a row later. */
    retry(): void {
      askAfter(retryMs);
      retryMs = Math.min(retryMs * 2, LONGEST_RETRY_MS);
    },
    lag,
    percent: () => Math.floor((1 - lag() / Math.max(1, stored)) * 100),
    stop(): void {
      isStopped = true;
      clearTimeout(timer);
    },
  };
}
