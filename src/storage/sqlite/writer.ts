/**
 * The writer thread: owner of the only read-write connection. Each batch is one transaction and one sync, and is
 * answered after both. Entry point of a worker; see `writer-client.ts` for the other side.
 */
import { statSync } from 'node:fs';
import type { DatabaseSync } from 'node:sqlite';
import { parentPort, workerData } from 'node:worker_threads';
import { StartRefused, StorageUnavailable } from '../../errors.ts';
import { instantOf, type Message } from '../../message.ts';
import type { AppendOutcome } from '../storage.ts';
import { reasonOf } from './failures.ts';
import { lockForThisProcess, type ProcessLock } from './process-lock.ts';
import type { Batch, ThreadData, WriterMessage, WriterReply, WriterRequest } from './protocol.ts';
import { openForWriting, refuseUnusablePath, WRITE_PROBE } from './schema.ts';

const { path }: ThreadData = workerData;
const port = parentPort;
if (port === null) throw new Error('writer.ts runs as a worker thread only');
const tell = (message: WriterMessage) => port.postMessage(message);

try {
  refuseUnusablePath(path);
  const lock = lockForThisProcess(path);
  serve(openForWriting(path, (event, fields) => tell({ kind: 'notice', event, fields })), lock);
} catch (error) {
  if (!(error instanceof StartRefused)) throw error;
  tell({ kind: 'refused', problem: error.message });
}

function serve(database: DatabaseSync, lock: ProcessLock): void {
  const newest = database.prepare('SELECT received_at FROM messages ORDER BY id DESC LIMIT 1').get()?.['received_at'];
  const engine = database.prepare('SELECT sqlite_version() AS version').get()?.['version'];
  const commit = createCommit(database);
  const probe = database.prepare(WRITE_PROBE);
  const transaction = createTransaction(database);
  const files = watchFiles();
  let syncFailed = false;
  /** A damaged page may be one that a probe never touches, so only a commit tells that all is well again. */
  let damaged = false;

  const attempt = (work: () => readonly AppendOutcome[]): WriterReply => {
    try {
      if (syncFailed) throw new StorageUnavailable('a sync to disk failed');
      const outcomes = transaction(work);
      files.refuseReplaced();
      return { kind: 'committed', outcomes };
    } catch (error) {
      const reason = reasonOf(error);
      damaged ||= reason === 'the database is damaged';
      // After a failed sync the next commit would "succeed" over pages that never reached the disk.
      syncFailed ||= reason === 'a sync to disk failed' || database.isTransaction;
      return { kind: 'failed', reason, fatal: syncFailed };
    }
  };

  port?.on('message', (request: WriterRequest) => {
    switch (request.kind) {
      case 'commit': {
        const reply = attempt(() => commit(JSON.parse(request.batch)));
        if (reply.kind === 'committed' && reply.outcomes.includes('stored')) damaged = false;
        return tell(reply);
      }
      case 'probe': return tell(attempt(() => {
        if (damaged) throw new StorageUnavailable('the database is damaged');
        probe.run(request.at);
        return [];
      }));
      case 'close': {
        database.close();
        lock.release();
        return port.close();
      }
    }
  });
  tell({ kind: 'opened', lastStoredAt: typeof newest === 'number' ? newest : undefined, engineVersion: String(engine) });
}

/** Runs work in one transaction. A failing insert can leave the transaction open, so every failure rolls back. */
function createTransaction(database: DatabaseSync) {
  return <Result>(work: () => Result): Result => {
    try {
      database.exec('BEGIN IMMEDIATE');
      const result = work();
      database.exec('COMMIT');
      return result;
    } catch (error) {
      if (database.isTransaction) rollBack(database);
      throw error;
    }
  };
}

/** Leaves the transaction open where even the rollback fails; the caller sees that and stops for good. */
function rollBack(database: DatabaseSync): void {
  try {
    database.exec('ROLLBACK');
  } catch {
    // The failure that led here is the one to report.
  }
}

function createCommit(database: DatabaseSync): (batch: Batch) => AppendOutcome[] {
  const insert = database.prepare(`
    INSERT INTO messages(message_id, from_number, to_number, ts, text, instant, received_at) VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT(message_id) DO NOTHING`);
  const stored = database.prepare('SELECT from_number, to_number, ts, text FROM messages WHERE message_id = ?');

  const keepCounts = createKeepCounts(database);

  const isSame = (message: Message): boolean => {
    const first = stored.get(message.message_id);
    return first?.['from_number'] === message.from && first['to_number'] === message.to &&
      first['ts'] === message.ts && first['text'] === message.text;
  };
  return ({ received_at, messages }) => {
    const storedBySender = new Map<string, number>();
    const outcomes = messages.map((message): AppendOutcome => {
      const { message_id, from, to, ts, text } = message;
      const { changes } = insert.run(message_id, from, to, ts, text, instantOf(ts) ?? ts, received_at);
      if (changes === 0) return isSame(message) ? 'duplicate' : 'conflicting_duplicate';
      storedBySender.set(from, (storedBySender.get(from) ?? 0) + 1);
      return 'stored';
    });
    keepCounts(storedBySender);
    return outcomes;
  };
}

/** Keeps what `GET /stats` shows in step with the messages; see `schema.ts`. */
function createKeepCounts(database: DatabaseSync) {
  const addToSender = database.prepare(`
    INSERT INTO senders(from_number, messages) VALUES (?, ?)
    ON CONFLICT(from_number) DO UPDATE SET messages = messages + excluded.messages
    RETURNING messages`);
  const addToTotals = database.prepare('UPDATE inbox SET messages = messages + ?, senders = senders + ?');

  return (storedBySender: ReadonlyMap<string, number>): void => {
    let stored = 0;
    let newSenders = 0;
    for (const [from, messages] of storedBySender) {
      stored += messages;
      if (addToSender.get(from, messages)?.['messages'] === messages) newSenders += 1;
    }
    if (stored > 0) addToTotals.run(stored, newSenders);
  };
}

/** A file unlinked or replaced under its process keeps taking inserts without a word, and nobody will find them again. */
function watchFiles() {
  const identity = () => [path, `${path}-wal`].map((file) => {
    const found = statSync(file, { bigint: true, throwIfNoEntry: false });
    return found === undefined ? 'gone' : `${found.dev}:${found.ino}`;
  }).join(' ');
  const opened = identity();
  return {
    refuseReplaced() {
      if (identity() !== opened) throw new StorageUnavailable('the database file was removed or replaced');
    },
  };
}
