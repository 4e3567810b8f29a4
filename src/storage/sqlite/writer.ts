/**
 * The writer thread: owner of the only read-write connection. Each batch is one transaction and one sync, and is
 * answered after both. Entry point of a worker; see `writer-client.ts` for the other side.
 */
import { statSync } from 'node:fs';
import type { DatabaseSync } from 'node:sqlite';
import { parentPort, workerData } from 'node:worker_threads';
import { StartRefused, StorageUnavailable } from '../../errors.ts';
import type { AppendOutcome } from '../storage.ts';
import { acceptAnyRowId, createAppend } from './append.ts';
import { reasonOf } from './failures.ts';
import { createFileIdentityCheck } from './file-identity.ts';
import { openForWriting } from './open.ts';
import { lockForThisProcess, type ProcessLock } from './process-lock.ts';
import type { ThreadData, WriterMessage, WriterReply, WriterRequest } from './protocol.ts';
import { WRITE_PROBE } from './schema.ts';

/** Messages and probes after which the log is copied into the database file. */
const CHECKPOINT_EVERY_WRITES = 2000;
/**
 * A log of this size means that readers have long kept it from starting again at its beginning; then the writer waits for
 * them, as long as for any lock.
 */
const LARGE_LOG_BYTES = 64 * 1024 * 1024;

const { path }: ThreadData = workerData;
const logPath = `${path}-wal`;
const port = parentPort;
if (port === null) throw new Error('writer.ts runs as a worker thread only');
const tell = (message: WriterMessage) => port.postMessage(message);

try {
  const lock = lockForThisProcess(path);
  const database = openForWriting(path, (event, fields) => tell({ kind: 'notice', event, fields }));
  serve(createWriter(database), database, lock);
} catch (error) {
  if (!(error instanceof StartRefused)) throw error;
  tell({ kind: 'refused', problem: error.message });
}

function serve(writer: Writer, database: DatabaseSync, lock: ProcessLock): void {
  port?.on('message', (request: WriterRequest) => {
    switch (request.kind) {
      case 'commit':
        tell(writer.commit(request.batch));
        return writer.checkpointIfDue();
      case 'probe':
        tell(writer.probe(request.at));
        return writer.checkpointIfDue();
      case 'close':
        database.close();
        lock.release();
        return port.close();
    }
  });
  const newest = database.prepare('SELECT received_at FROM messages ORDER BY id DESC LIMIT 1').get()?.['received_at'];
  const engine = database.prepare('SELECT sqlite_version() AS version').get()?.['version'];
  tell({ kind: 'opened', lastStoredAt: typeof newest === 'number' ? newest : undefined, engineVersion: String(engine) });
}

type Writer = ReturnType<typeof createWriter>;

function createWriter(database: DatabaseSync) {
  const append = createAppend(database);
  const probe = database.prepare(WRITE_PROBE);
  acceptAnyRowId(probe);
  const requireSameFiles = createFileIdentityCheck([path, logPath]);
  let failedForGood = false;
  /** A damaged page may be one that a probe never touches, so only a stored message tells that all is well again. */
  let damaged = false;
  let sinceCheckpoint = 0;

  /** Notes what a failure means for all that follows. */
  function fail(error: unknown): WriterReply {
    const reason = reasonOf(error);
    damaged ||= reason === 'the database is damaged';
    // After a failed sync the next commit would "succeed" over pages that never reached the disk.
    failedForGood ||= reason === 'a sync to disk failed' || database.isTransaction;
    return { kind: 'failed', reason, fatal: failedForGood };
  }

  function attempt(work: () => readonly AppendOutcome[]): WriterReply {
    try {
      if (failedForGood) throw new StorageUnavailable('a sync to disk failed');
      const outcomes = inTransaction(database, work);
      requireSameFiles();
      return { kind: 'committed', outcomes };
    } catch (error) {
      return fail(error);
    }
  }

  return {
    commit(batch: string): WriterReply {
      const reply = attempt(() => append(JSON.parse(batch)));
      if (reply.kind === 'committed') {
        sinceCheckpoint += reply.outcomes.length;
        if (reply.outcomes.includes('stored')) damaged = false;
      }
      return reply;
    },
    probe: (at: number): WriterReply => attempt(() => {
      if (damaged) throw new StorageUnavailable('the database is damaged');
      probe.run(at);
      sinceCheckpoint += 1;
      return [];
    }),
    /** Copies the log into the database file as far as readers allow. Its failures cost only a longer log, save a failed sync. */
    checkpointIfDue(): void {
      if (sinceCheckpoint < CHECKPOINT_EVERY_WRITES || failedForGood) return;
      sinceCheckpoint = 0;
      try {
        const isLarge = (statSync(logPath, { throwIfNoEntry: false })?.size ?? 0) > LARGE_LOG_BYTES;
        database.exec(`PRAGMA wal_checkpoint(${isLarge ? 'TRUNCATE' : 'PASSIVE'})`);
      } catch (error) {
        const failure = fail(error);
        if (failure.kind === 'failed' && failure.fatal) tell({ kind: 'fatal', reason: failure.reason });
      }
    },
  };
}

/** A failing insert can leave the transaction open, so every failure rolls back. Where even that fails it stays open. */
function inTransaction<Result>(database: DatabaseSync, work: () => Result): Result {
  try {
    database.exec('BEGIN IMMEDIATE');
    const result = work();
    database.exec('COMMIT');
    return result;
  } catch (error) {
    if (database.isTransaction) rollBack(database);
    throw error;
  }
}

function rollBack(database: DatabaseSync): void {
  try {
    database.exec('ROLLBACK');
  } catch {
    // The failure that led here is the one to report.
  }
}
