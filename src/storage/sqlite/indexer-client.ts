import { StartRefused } from '../../errors.ts';
import type { StorageObserver } from '../storage.ts';
import { indexPathOf } from './index-schema.ts';
import type { IndexerMessage, IndexerRequest } from './protocol.ts';
import { keepThread } from './thread.ts';

/** The main thread's hold on the indexer thread, and what decides when that works. */
export interface Indexer {
  /** Tells that so many messages were stored. */
  stored(messages: number): void;
  /** Tells that a read begins. */
  read(): void;
  /** Stored messages that are not in the index yet. Reads look at each of those. */
  lag(): number;
  close(): Promise<void>;
}

/** So many new messages are worth a transaction: the fewer, the more of the same pages each of them writes again. */
const WORTH_INDEXING = 8192;
/** Fewer wait so long at most. */
const WAIT_MS = 1000;
/** A read looks at each message that is not in the index, a microsecond or two each; so from here on it has the next one find fewer. */
const MANY_FOR_A_READ = 1500;
const RETRY_MS = 1000;

/**
 * Opens the read index in a new thread, and brings it up to date. Throws StartRefused where an operator has to mend something
 * first. An index that fails later is tried again: reads get slower meanwhile, and are refused once it is far behind.
 */
export async function startIndexer(path: string, observer: StorageObserver): Promise<Indexer> {
  const opened = Promise.withResolvers<void>();
  const schedule = createSchedule(() => {
    const request: IndexerRequest = { kind: 'index' };
    thread.post(request);
  });
  let closed = false;
  let failing = false;

  const fail = (reason: string): void => {
    if (closed) return;
    const problem = `${indexPathOf(path)} cannot be written: ${reason}; mend that, or remove the file: it is made anew`;
    opened.reject(new StartRefused([`DATABASE_URL: ${problem}`]));
    if (!failing) observer.notice('ERROR', 'index_failed', { reason });
    failing = true;
    schedule.retry();
  };
  const thread = keepThread<IndexerMessage>({
    script: 'indexer', workerData: { path }, observer,
    onMessage(message) {
      if (message.kind === 'notice') return observer.notice('INFO', message.event, message.fields);
      if (message.kind === 'failed') return fail(message.reason);
      failing = false;
      opened.resolve();
      schedule.indexed(message.messages);
    },
    onEnded: () => fail('its thread died'),
  });
  const close = async (): Promise<void> => {
    closed = true;
    schedule.stop();
    await thread.close();
  };

  try {
    await opened.promise;
  } catch (error) {
    await close();
    throw error;
  }
  return { stored: schedule.stored, read: schedule.read, lag: schedule.lag, close };
}

/** Asks for the index to be brought up to date, once at a time, when enough has come or has waited long enough. */
function createSchedule(ask: () => void) {
  let stored = 0;
  let indexed = 0;
  let asked = false;
  let timer: NodeJS.Timeout | undefined;

  const askNow = (): void => {
    clearTimeout(timer);
    timer = undefined;
    asked = true;
    ask();
  };
  const askFrom = (worthIt: number): void => {
    const behind = stored - indexed;
    if (asked || behind <= 0) return;
    if (behind >= worthIt) askNow();
    else timer ??= setTimeout(askNow, WAIT_MS);
  };
  return {
    stored(messages: number): void {
      stored += messages;
      askFrom(WORTH_INDEXING);
    },
    read: () => askFrom(MANY_FOR_A_READ),
    /** The answer: how many messages are in the index. */
    indexed(messages: number): void {
      indexed = messages;
      // At the start; and later a batch that was given up on may have been stored all the same.
      stored = Math.max(stored, indexed);
      asked = false;
      askFrom(WORTH_INDEXING);
    },
    retry(): void {
      clearTimeout(timer);
      timer = setTimeout(askNow, RETRY_MS);
    },
    lag: () => stored - indexed,
    stop: () => clearTimeout(timer),
  };
}
