/**
 * The writer thread: owner of the only connection that stores. All batches that came during one commit are one transaction and
 * one sync, and are answered after both: the thread never waits for the others between two commits. Entry point of a worker; see
 * `writer.ts` for the other side.
 */
import type { DatabaseSync } from 'node:sqlite';
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { StartRefused, StorageUnavailable, type UnavailableReason } from '../../../errors.ts';
import { withoutWaiting } from '../connection-options.ts';
import { reasonOf } from '../failures.ts';
import { createAppend } from '../file/append.ts';
import { isLastIdGivenOut } from '../file/generations.ts';
import { createHiding } from '../file/hiding.ts';
import { createFileIdentity } from '../file/identity.ts';
import { type Opened, openForWriting } from '../file/open.ts';
import { lockForThisProcess, type ProcessLock } from '../file/process-lock.ts';
import { createRemains } from '../file/remains.ts';
import { createRemembered, type Remembered } from '../file/remembered.ts';
import { createRemoval } from '../file/removal.ts';
import { inTransaction } from '../file/transaction.ts';
import { isIndexOfAnotherDatabase } from '../indexing/identity.ts';
import { acceptAnyRowId } from '../row-ids.ts';
import { createSnapshotGate, type GatedData } from '../snapshot-gate.ts';
import { startCheckpoints } from './checkpoints.ts';
import type { RemovalStep, StepDone, WriterMessage, WriterReply, WriterRequest } from './protocol.ts';

const { path, gate }: GatedData = workerData;
const port = parentPort;
if (port === null) throw new Error('writer-thread.ts runs as a worker thread only');
const tell = (message: WriterMessage) => port.postMessage(message);

/** An acknowledgement waits so much longer where pages are cleaned of what is gone, once after a checkpoint. */
const CLEAN_PAGES_FOR_MS = 20;
/** A write that stores no message, to find out whether the database takes one; its parameter is the time in milliseconds since 1970. */
const WRITE_PROBE = 'UPDATE inbox SET probed_at = ?';

try {
  const lock = lockForThisProcess(path);
  const { database, opened } = openForWriting(
    path, (event, fields) => tell({ kind: 'notice', event, fields }), (messages) => isIndexOfAnotherDatabase(messages, path),
  );
  serve(createWriter(database, lock), database, opened, lock);
} catch (error) {
  if (!(error instanceof StartRefused)) throw error;
  tell({ kind: 'refused', problem: error.message });
}

function serve(writer: Writer, database: DatabaseSync, opened: Opened, lock: ProcessLock): void {
  const remains = createRemains({ database, path, cleanForMs: CLEAN_PAGES_FOR_MS, onWritten: writer.files.written });
  const checkpoints = startCheckpoints({
    database, path, gate: createSnapshotGate(gate), requireFiles: writer.files.require, remains,
    onChange(reason) {
      tell({ kind: 'checkpoints', reason });
      if (reason !== null) writer.noteFailure(reason);
    },
  });
  // What an earlier process has removed may be in them.
  if (opened.vanished > 0) remains.removed();
  const reply = (answer: WriterReply) => {
    tell(answer);
    if (answer.kind !== 'failed') checkpoints.wrote();
    return answer;
  };
  const close = async () => {
    await checkpoints.close();
    database.close();
    lock.release();
    port?.close();
  };
  port?.on('message', (request: WriterRequest) => {
    for (const next of takeQueued(request)) {
      if (next.kind === 'commit') reply(writer.commit(next.batches));
      else if (next.kind === 'probe') reply(writer.probe(next.writesAt));
      else if (next.kind === 'close') void close();
      else if (reply(writer.step(next)).kind === 'stepped' && next.kind === 'remove') remains.removed();
    }
  });
  tell({ kind: 'opened', ...opened });
}

type Work = { readonly kind: 'commit'; readonly batches: readonly string[] } | Exclude<WriterRequest, { kind: 'commit' }>;

/** This request and all that wait behind it, the batches among them as few commits: what came during one commit makes up the next. */
function takeQueued(request: WriterRequest): Work[] {
  const queued: Work[] = [];
  let batches: string[] = [];
  for (let next: WriterRequest | undefined = request; next !== undefined; next = port && receiveMessageOnPort(port)?.message) {
    if (next.kind !== 'commit') {
      queued.push(next);
      batches = [];
    } else if (batches.push(next.batch) === 1) {
      queued.push({ kind: 'commit', batches });
    }
  }
  return queued;
}

type Writer = ReturnType<typeof createWriter>;

function createWriter(database: DatabaseSync, lock: ProcessLock) {
  const remembered = createRemembered(database);
  const [append, step] = [createAppend(database, remembered), createStep(database, remembered)];
  const probe = database.prepare(WRITE_PROBE);
  acceptAnyRowId(probe);
  const files = createFileIdentity(path, lock);
  let failedForGood = false;
  /** A damaged page may be one that a probe never touches, so only a stored message tells that all is well again. */
  let damaged = false;
  /** A probe takes no row id, so that it would not tell. */
  let noIdLeft = false;

  /** Notes what a failure means for all that follows. */
  function fail(error: unknown) {
    noIdLeft ||= reasonOf(error) === 'the disk is full' && isLastIdGivenOut(database);
    const reason = noIdLeft ? 'no row id is left' : reasonOf(error);
    damaged ||= reason === 'the database is damaged';
    // After a failed sync the next commit would "succeed" over pages that never reached the disk.
    failedForGood ||= reason === 'a sync to disk failed' || database.isTransaction;
    return { kind: 'failed', reason, fatal: failedForGood } as const;
  }

  function attempt(requests: number, work: () => Exclude<WriterReply, { kind: 'failed' }>): WriterReply {
    try {
      if (failedForGood) throw new StorageUnavailable('a sync to disk failed');
      files.requireWholeLog();
      const reply = inTransaction(database, work);
      files.require();
      return reply;
    } catch (error) {
      return { ...fail(error), requests };
    }
  }

  return {
    files,
    commit(batches: readonly string[]): WriterReply {
      const requests = batches.length;
      const reply = attempt(requests, () => ({
        kind: 'committed', requests, outcomes: batches.flatMap((batch) => append(JSON.parse(batch))),
      }));
      if (reply.kind === 'committed' && reply.outcomes.includes('stored')) damaged = false;
      return reply;
    },
    probe: (writesAt: number | null): WriterReply => attempt(1, () => {
      if (damaged) throw new StorageUnavailable('the database is damaged');
      if (noIdLeft) throw new StorageUnavailable('no row id is left');
      // A transaction that has written nothing takes the lock, and no sync.
      if (writesAt !== null) probe.run(writesAt);
      return { kind: 'committed', requests: 1, outcomes: [] };
    }),
    step: (next: RemovalStep): WriterReply =>
      withoutWaiting(database, () => attempt(1, () => ({ kind: 'stepped', requests: 1, done: step(next) }))),
    /** Notes a failure that no request has asked for. */
    noteFailure(reason: UnavailableReason): void {
      failedForGood ||= reason === 'a sync to disk failed';
      if (failedForGood) tell({ kind: 'fatal', reason });
    },
  };
}

/** Returns what takes a step, inside the caller's transaction. */
function createStep(database: DatabaseSync, remembered: Remembered): (step: RemovalStep) => StepDone {
  const hiding = createHiding(database);
  const removal = createRemoval(database, remembered);
  return (step) => {
    const { kind } = step;
    if (kind !== 'erase') remembered.forgetSome(step.now);
    switch (kind) {
      case 'expire': {
        const { before, now } = step;
        return { ...(before === null ? { messages: 0, isDone: true } : hiding.expire(before, now)), progress: null };
      }
      case 'erase': {
        const erased = hiding.erase(step);
        return { ...erased, isDone: erased.progress === null };
      }
      case 'remove': return { ...removal.remove(step), progress: null };
      default: return kind satisfies never;
    }
  };
}
