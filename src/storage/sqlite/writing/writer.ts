import type { Worker } from 'node:worker_threads';
import { StartRefused, StorageUnavailable, type UnavailableReason } from '../../../errors.ts';
import type { Message } from '../../../message.ts';
import { describeError } from '../../../observe/log.ts';
import type { AppendOutcome, StorageObserver } from '../../storage.ts';
import { createProof } from '../../write-proof.ts';
import type { Batch } from '../file/append.ts';
import type { Opened } from '../file/open.ts';
import type { GatedData } from '../snapshot-gate.ts';
import { startThread } from '../thread.ts';
import type { RemovalStep, StepDone, WriterMessage, WriterRequest } from './protocol.ts';

/** The main thread's hold on the writer thread. */
export interface Writer {
  readonly opened: Opened;
  /** Commits these with all others that wait. */
  commit(messages: readonly Message[]): Promise<readonly AppendOutcome[]>;
  /** Takes a step, in its turn among the batches. Rejects with StorageUnavailable. */
  step(step: RemovalStep): Promise<StepDone>;
  /** Looks at the files and whether a write can begin, and makes one durable where none was lately or something failed. */
  probe(): Promise<void>;
  /** Whether the files were found to be no longer those that they were. */
  filesChanged(): boolean;
  /** Resolves when the thread died or will never commit again. */
  readonly failure: Promise<UnavailableReason>;
  /** Resolves when the database is closed and the thread has ended. */
  close(): Promise<void>;
}

interface PendingReply {
  /** How many outcomes it gets. */
  readonly messages: number;
  readonly askedAt: number;
  resolve(answer: Answer): void;
  reject(error: StorageUnavailable): void;
}

/** Of a request: the outcomes of its messages, and what a step has done. */
interface Answer {
  readonly outcomes: readonly AppendOutcome[];
  readonly done?: StepDone;
}

/** Opens the database in a new writer thread. Throws StartRefused where an operator has to mend something first. */
export async function startWriter(data: GatedData, now: () => number, observer: StorageObserver): Promise<Writer> {
  const thread = startThread({ name: 'writer', beside: import.meta.url, workerData: data });
  const opened = await waitUntilOpened(thread, observer);
  const pending: PendingReply[] = [];
  const [failure, ended] = [Promise.withResolvers<UnavailableReason>(), Promise.withResolvers<void>()];
  const proof = createProof();
  let [dead, closing] = [false, false];

  thread.on('message', (reply: Exclude<WriterMessage, { kind: 'opened' | 'refused' }>) => {
    if (reply.kind === 'fatal') return failure.resolve(reply.reason);
    if (reply.kind === 'checkpoints') return observer.failing('checkpoint', reply.reason);
    if (reply.kind === 'notice') return observer.notice('INFO', reply.event, reply.fields);
    const answered = pending.splice(0, reply.requests);
    if (reply.kind === 'committed') {
      if (reply.outcomes.length > 0) observer.batchCommitted(reply.outcomes.length, secondsSince(answered[0]?.askedAt));
      return resolveAll(answered, reply.outcomes);
    }
    if (reply.kind === 'stepped') return answered[0]?.resolve({ outcomes: [], done: reply.done });
    rejectAll(answered, reply.reason);
    if (reply.fatal) failure.resolve(reply.reason);
  });
  // The 'exit' that follows settles everything.
  thread.on('error', (error) => observer.notice('ERROR', 'writer_died', describeError(error)));
  thread.on('exit', () => {
    dead = true;
    rejectAll(pending.splice(0), 'the writer thread died');
    if (!closing) failure.resolve('the writer thread died');
    ended.resolve();
  });

  function ask(request: WriterRequest, messages: number): Promise<Answer> {
    if (dead) return Promise.reject(new StorageUnavailable('the writer thread died'));
    return new Promise((resolve, reject) => {
      pending.push({ messages, askedAt: performance.now(), resolve, reject });
      thread.postMessage(request);
    });
  }

  return {
    opened,
    async commit(messages) {
      const batch: Batch = { received_at: now(), messages };
      return (await proof.ofCommit(ask({ kind: 'commit', batch: JSON.stringify(batch) }, messages.length))).outcomes;
    },
    step: async (step) => doneOf(await ask(step, 0)),
    async probe() {
      const reason = proof.refusedFor();
      if (reason !== undefined) throw new StorageUnavailable(reason);
      const writes = !proof.holds();
      await proof.of(ask({ kind: 'probe', writesAt: writes ? now() : null }, 0), writes);
    },
    filesChanged: proof.filesChanged,
    failure: failure.promise,
    async close() {
      closing = true;
      thread.postMessage({ kind: 'close' } satisfies WriterRequest);
      await ended.promise;
    },
  };
}

function doneOf({ done }: Answer): StepDone {
  if (done === undefined) throw new StorageUnavailable('the database failed');
  return done;
}

const secondsSince = (begin = performance.now()) => (performance.now() - begin) / 1000;

/** Gives each its own part of the outcomes. */
function resolveAll(answered: readonly PendingReply[], outcomes: readonly AppendOutcome[]): void {
  let begin = 0;
  for (const { messages, resolve } of answered) resolve({ outcomes: outcomes.slice(begin, begin += messages) });
}

function rejectAll(asked: readonly PendingReply[], reason: UnavailableReason): void {
  for (const { reject } of asked) reject(new StorageUnavailable(reason));
}

function waitUntilOpened(thread: Worker, observer: StorageObserver): Promise<Opened> {
  const { promise, resolve, reject } = Promise.withResolvers<Opened>();
  const onMessage = (message: WriterMessage) => {
    if (message.kind === 'opened') resolve(message);
    if (message.kind === 'refused') reject(new StartRefused([message.problem]));
    if (message.kind === 'notice') observer.notice('INFO', message.event, message.fields);
  };
  const onExit = () => reject(new StorageUnavailable('the writer thread died'));
  thread.on('message', onMessage).on('error', reject).on('exit', onExit);
  return promise.finally(() => thread.off('message', onMessage).off('error', reject).off('exit', onExit));
}
