/**
 * The checkpointer thread: copies most of the write-ahead log into the database file while the writer goes on committing, as
 * SQLite allows (https://sqlite.org/wal.html#concurrency). What comes meanwhile is left for the writer, which alone can begin the
 * log again. Entry point of a worker that the writer starts.
 */
import { DatabaseSync } from 'node:sqlite';
import { parentPort, workerData } from 'node:worker_threads';
import { AS_BY_DEFAULT } from '../connection-options.ts';
import { reasonOf } from '../failures.ts';
import type { ThreadData } from '../thread.ts';
import type { CheckpointerReply } from './protocol.ts';

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
