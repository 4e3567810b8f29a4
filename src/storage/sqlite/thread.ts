import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';
import { describeError } from '../../observe/log.ts';
import type { StorageObserver } from '../storage.ts';

/** New objects of a thread, in MB: V8 would let each thread have eight times as many before it looks what is still in use. */
const MAX_YOUNG_GENERATION_MB = 6;

export interface ThreadData {
  /** Of the database. */
  readonly path: string;
}

/** A thread to start: its entry point is `<name>-thread` beside the module that starts it. */
export interface ThreadStart {
  readonly name: 'writer' | 'checkpointer' | 'reader' | 'indexer';
  /** `import.meta.url` of that module. tsc rewrites the extension of an import but not of a URL: this has the right one, `.ts` or `.js`. */
  readonly beside: string;
  readonly workerData: ThreadData;
}

/** Starts a database thread. */
export function startThread({ name, beside, workerData }: ThreadStart): Worker {
  return new Worker(new URL(`./${name}-thread${extname(beside)}`, beside), {
    workerData, name, resourceLimits: { maxYoungGenerationSizeMb: MAX_YOUNG_GENERATION_MB },
  });
}

/** Kinds of messages that a thread sends before it has done anything. */
const BEFORE_WORK: ReadonlySet<string> = new Set(['started', 'opened']);
const FIRST_RESTART_MS = 100;
const LONGEST_RESTART_MS = 10_000;

/** A thread that is replaced when it dies. */
export interface KeptThread {
  post(request: object): void;
  close(): Promise<void>;
}

export interface KeptThreadOptions<Message> extends ThreadStart {
  readonly observer: StorageObserver;
  /** Messages show that the thread works, but for those of BEFORE_WORK. */
  readonly onMessage: (message: Message) => void;
  readonly onEnded: () => void;
}

/** Starts a thread and keeps one running: a dead one is replaced, later each time it dies again without an answer between. */
export function keepThread<Message extends { readonly kind: string }>(options: KeptThreadOptions<Message>): KeptThread {
  const { name, observer, onMessage, onEnded } = options;
  let restartMs = FIRST_RESTART_MS;
  let restartTimer: NodeJS.Timeout | undefined;
  let closed = false;
  let thread = start();

  function start(): Worker {
    const started = startThread(options);
    started.on('message', (message: Message) => {
      if (!BEFORE_WORK.has(message.kind)) restartMs = FIRST_RESTART_MS;
      onMessage(message);
    });
    started.on('error', (error) => observer.notice('ERROR', `${name}_died`, describeError(error)));
    started.on('exit', () => {
      onEnded();
      if (closed) return;
      restartTimer = setTimeout(() => { thread = start(); }, restartMs);
      restartMs = Math.min(restartMs * 2, LONGEST_RESTART_MS);
    });
    return started;
  }

  return {
    post: (request) => thread.postMessage(request),
    async close() {
      closed = true;
      clearTimeout(restartTimer);
      await thread.terminate();
    },
  };
}
