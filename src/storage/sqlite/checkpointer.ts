/**
 * The checkpointer thread: copies most of the write-ahead log into the database file while the writer goes on committing, as
 * SQLite allows (https://sqlite.org/wal.html#concurrency). What comes meanwhile is left for the writer, which alone can begin the
 * log again. Entry point of a worker that the writer starts.
 */
import { DatabaseSync } from 'node:sqlite';
import { parentPort, workerData } from 'node:worker_threads';
import { reasonOf } from './failures.ts';
import type { CheckpointerReply, ThreadData } from './protocol.ts';
import { AS_BY_DEFAULT } from './schema.ts';

const { path }: ThreadData = workerData;
const database = new DatabaseSync(path, AS_BY_DEFAULT);
database.exec('PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0');

function checkpoint(): CheckpointerReply {
  try {
    const { busy, log, checkpointed } = database.prepare('PRAGMA wal_checkpoint(PASSIVE)').get() ?? {};
    return { failure: null, copiedAll: busy === 0 && log === checkpointed };
  } catch (error) {
    return { failure: reasonOf(error), copiedAll: false };
  }
}

parentPort?.on('message', () => parentPort?.postMessage(checkpoint()));
