import { StartRefused } from '../../errors.ts';
import type { StorageObserver } from '../storage.ts';
import { indexPathOf } from './index-schema.ts';
import type { IndexerMessage, IndexerRequest } from './protocol.ts';
import { keepThread } from './thread.ts';

/** The main thread's hold on the indexer thread, and what decides when that works. */
export interface Indexer {
  /** Tells that so many messages were stored. */
  stored(messages: number): void;
  /** Stored messages that are not in the index yet. Reads look at each of those. */
  lag(): number;
  close(): Promise<void>;
}

/** So many new messages are worth a transaction: fewer cost more each, and more would have to be looked at by each read. */
const WORTH_INDEXING = 1500;
/** Fewer wait so long at most. */
const WAIT_MS = 100;
const RETRY_MS = 1000;

/**
 * Opens the read index in a new thread, and brings it up to date. Throws StartRefused where an operator has to mend something
 * first. An index that fails later is tried again: reads get slower meanwhile, and are refused once it is far behind.
 */
export async function startIndexer(path: string, observer: StorageObserver): Promise<Indexer> {
  const opened = Promise.withResolvers<number>();
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
    script: 'indexer', path, observer,
    onMessage(message) {
      if (message.kind === 'notice') return observer.notice('INFO', message.event, message.fields);
      if (message.kind === 'failed') return fail(message.reason);
      failing = false;
      opened.resolve(message.messages);
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
    schedule.stored(await opened.promise);
  } catch (error) {
    await close();
    throw error;
  }
  return { stored: schedule.stored, lag: schedule.lag, close };
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
  const askWhenWorthIt = (): void => {
    const behind = stored - indexed;
    if (asked || behind <= 0) return;
    if (behind >= WORTH_INDEXING) askNow();
    else timer ??= setTimeout(askNow, WAIT_MS);
  };
  return {
    stored(messages: number): void {
      stored += messages;
      askWhenWorthIt();
    },
    /** The answer: how many messages are in the index. */
    indexed(messages: number): void {
      indexed = messages;
      asked = false;
      askWhenWorthIt();
    },
    retry(): void {
      clearTimeout(timer);
      timer = setTimeout(askNow, RETRY_MS);
    },
    lag: () => stored - indexed,
    stop: () => clearTimeout(timer),
  };
}
