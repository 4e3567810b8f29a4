import { StartRefused } from '../../errors.ts';
import type { StorageObserver } from '../storage.ts';
import { removeIndex } from './index-identity.ts';
import { indexPathOf } from './index-schema.ts';
import type { IndexerMessage, IndexerRequest } from './protocol.ts';
import { keepThread } from './thread.ts';

/** The main thread's hold on the indexer thread, and what decides when that works. */
export interface Indexer {
  /** Tells that so many messages were stored. */
  stored(messages: number): void;
  /** Tells that a read has ended. */
  readEnded(): void;
  /** Stored messages that are not in the index yet. Reads look at each of those. */
  lag(): number;
  close(): Promise<void>;
}

/** So many new messages are worth a transaction: the fewer, the more of the same pages each of them writes again. */
const WORTH_INDEXING = 16_384;
/** Fewer wait so long at most. */
const WAIT_MS = 1000;
/** Each read looks at each message that is not in the index, a microsecond or two each. So many are taken in once a read has ended. */
const MANY_FOR_A_READ = 1500;
const RETRY_MS = 1000;

/**
 * Opens the read index in a new thread, and brings it up to date. One that is damaged is made anew. Throws StartRefused where an
 * operator has to mend something first.
 */
export async function startIndexer(path: string, observer: StorageObserver): Promise<Indexer> {
  const refuse = (reason: string) =>
    new StartRefused([`DATABASE_URL: ${indexPathOf(path)} cannot be written: ${reason}; mend that, or remove the file: it is made anew`]);
  const first = await openIndexer(path, observer);
  if (first.kind === 'opened') return first.indexer;
  if (first.reason !== 'the database is damaged') throw refuse(first.reason);
  observer.notice('WARNING', 'index_made_anew', { reason: first.reason });
  removeIndex(path);
  const second = await openIndexer(path, observer);
  if (second.kind === 'opened') return second.indexer;
  throw refuse(second.reason);
}

type Opening =
  | { readonly kind: 'opened'; readonly indexer: Indexer }
  | { readonly kind: 'failed'; readonly reason: string };

/** An index that fails later is tried again: reads get slower meanwhile, and are refused once it is far behind. */
async function openIndexer(path: string, observer: StorageObserver): Promise<Opening> {
  const opened = Promise.withResolvers<string | null>();
  const schedule = createSchedule(() => {
    const request: IndexerRequest = { kind: 'index' };
    thread.post(request);
  });
  let isOpen = false;
  let closed = false;
  let failing = false;

  const fail = (reason: string): void => {
    if (closed) return;
    opened.resolve(reason);
    if (!isOpen) return;
    if (!failing) observer.notice('ERROR', 'index_failed', { reason });
    failing = true;
    // Nothing tells which of its pages are still right: the next start makes it anew.
    if (reason === 'the database is damaged' || reason === 'a sync to disk failed') removeIndex(path);
    schedule.retry();
  };
  const thread = keepThread<IndexerMessage>({
    script: 'indexer', workerData: { path }, observer,
    onMessage(message) {
      if (message.kind === 'notice') return observer.notice('INFO', message.event, message.fields);
      if (message.kind === 'failed') return fail(message.reason);
      if (failing) observer.notice('INFO', 'index_recovered', {});
      failing = false;
      if (!isOpen) schedule.stored(message.messages);
      isOpen = true;
      schedule.indexed(message.messages);
      opened.resolve(null);
    },
    onEnded: () => fail('its thread died'),
  });
  const close = async (): Promise<void> => {
    closed = true;
    schedule.stop();
    await thread.close();
  };

  const reason = await opened.promise;
  const { stored, readEnded, lag } = schedule;
  if (reason === null) return { kind: 'opened', indexer: { stored, readEnded, lag, close } };
  await close();
  return { kind: 'failed', reason };
}

/** Asks for the index to be brought up to date, once at a time, when enough has come or has waited long enough. */
function createSchedule(ask: () => void) {
  let stored = 0;
  let indexed = 0;
  let asked = true;
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
    readEnded: () => askFrom(MANY_FOR_A_READ),
    /** The answer: how many messages are in the index. */
    indexed(messages: number): void {
      indexed = messages;
      asked = false;
      askFrom(WORTH_INDEXING);
    },
    retry(): void {
      clearTimeout(timer);
      timer = setTimeout(askNow, RETRY_MS);
    },
    lag: () => Math.max(0, stored - indexed),
    stop: () => clearTimeout(timer),
  };
}
