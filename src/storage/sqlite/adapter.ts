/**
 * The embedded storage: one SQLite file in write-ahead-log mode (https://sqlite.org/wal.html), one writer thread with
 * the only read-write connection, reader threads with read-only ones. SQLite allows a single writer at a time anyway;
 * giving it a thread keeps the sync to disk away from the sockets, and readers see a snapshot that no write disturbs.
 */
import { stat, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { createGroupCommit } from '../group-commit.ts';
import { StorageUnavailable } from '../../errors.ts';
import type { Message } from '../../message.ts';
import type { AppendOutcome, Storage, StorageObserver, StorageSizes } from '../storage.ts';
import { startReaders } from './reader-pool.ts';
import { startWriter } from './writer-client.ts';

/** Messages accepted and not yet answered; with the largest message each, some 20 MB. */
export const QUEUE_CAPACITY = 1024;
const MAX_BATCH = 256;

export interface SqliteStorageOptions {
  readonly path: string;
  /** Longest time for a read, waiting included, in milliseconds. */
  readonly queryTimeoutMs: number;
  /** Milliseconds since 1970; stamped on each stored batch. */
  readonly now: () => number;
  readonly observer: StorageObserver;
}

/** Opens the database, upgrading it where needed. Throws StartRefused where an operator has to mend something first. */
export async function openSqliteStorage({ path, queryTimeoutMs, now, observer }: SqliteStorageOptions): Promise<Storage> {
  // Large sorts spill into temporary files; beside the database is the one place sure to be writable.
  process.env['SQLITE_TMPDIR'] ??= dirname(path);
  const writer = await startWriter(path, now, observer);
  const readers = startReaders(path, queryTimeoutMs);
  let lastStoredAt = writer.lastStoredAt;

  const groupCommit = createGroupCommit<Message, AppendOutcome>({
    capacity: QUEUE_CAPACITY,
    maxBatch: MAX_BATCH,
    async commit(messages) {
      const begin = performance.now();
      const outcomes = await writer.commit(messages);
      if (outcomes.includes('stored')) lastStoredAt = now();
      observer.batchCommitted(messages.length, (performance.now() - begin) / 1000);
      return outcomes;
    },
  });

  return {
    append: groupCommit.add,
    hasRoom: groupCommit.hasRoom,
    async list(query) {
      const reply = await readers.ask({ kind: 'list', query, deadline: Date.now() + queryTimeoutMs });
      if (reply.kind !== 'page') throw new StorageUnavailable('a reader failed');
      return reply.page;
    },
    async stats() {
      const reply = await readers.ask({ kind: 'stats' });
      if (reply.kind !== 'stats') throw new StorageUnavailable('a reader failed');
      return reply.stats;
    },
    probe: writer.probe,
    sizes: () => readSizes(path),
    queueDepth: groupCommit.depth,
    readsWaiting: readers.waiting,
    lastStoredAt: () => lastStoredAt,
    engineVersion: writer.engineVersion,
    failure: writer.failure,
    async close() {
      await groupCommit.close();
      await Promise.all([readers.close(), writer.close()]);
    },
  };
}

async function readSizes(path: string): Promise<StorageSizes> {
  const size = (file: string) => stat(file).then((found) => found.size, () => undefined);
  const free = statfs(dirname(path)).then((disk) => disk.bavail * disk.bsize, () => undefined);
  const [databaseBytes, walBytes, freeDiskBytes] = await Promise.all([size(path), size(`${path}-wal`), free]);
  return { databaseBytes, walBytes, freeDiskBytes };
}
