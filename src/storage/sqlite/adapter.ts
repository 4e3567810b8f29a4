/**
 * The embedded storage: one SQLite file in write-ahead-log mode (https://sqlite.org/wal.html), one writer thread with
 * the only connection that stores, reader threads with read-only ones, and an indexer thread that keeps what reads need in a
 * file of its own. SQLite allows a single writer at a time anyway; giving it a thread keeps the sync to disk away from the
 * sockets, and readers see a snapshot that no write disturbs.
 */
import { stat, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { StorageUnavailable } from '../../errors.ts';
import type { Message } from '../../message.ts';
import { commitInTime } from '../commit-deadline.ts';
import { createGroupCommit, QUEUE_CAPACITY } from '../group-commit.ts';
import { createReads, startReaders } from '../reads.ts';
import type { AppendOutcome, Storage, StorageOptions, StorageSizes } from '../storage.ts';
import { resolveDatabasePath } from './file/path.ts';
import { startIndexer } from './indexing/indexer.ts';
import { indexPathOf } from './indexing/schema.ts';
import { createCheckedRead } from './reading/checked-read.ts';
import { startReader } from './reading/reader.ts';
import { BEFORE_ALL_IDS } from './row-ids.ts';
import { createGateMemory } from './snapshot-gate.ts';
import { startRemovals } from './writing/removals.ts';
import { startWriter, type Writer } from './writing/writer.ts';

export interface SqliteStorageOptions extends StorageOptions {
  readonly path: string;
}

/** Opens the database, upgrading it where needed. Throws StartRefused where an operator has to mend something first. */
export async function openSqliteStorage(
  { path: givenPath, queryTimeoutMs, now, retention, observer }: SqliteStorageOptions,
): Promise<Storage> {
  const path = resolveDatabasePath(givenPath);
  // Large sorts spill into temporary files; beside the database is the one place sure to be writable.
  process.env['SQLITE_TMPDIR'] ??= dirname(path);
  const gated = { path, gate: createGateMemory() };
  const writer = await startWriter(gated, now, observer);
  const { opened } = writer;
  const removals = startRemovals({
    step: writer.step, retention, now, observer, onHidden: () => void indexing.then(({ hidden }) => hidden()),
  });
  const indexing = startIndexer(gated, opened, observer, removals.takenOut);
  const readers = await startReaders(queryTimeoutMs, (readClass, nextJob) =>
    startReader({ ...gated, givesWay: readClass === 'long' }, nextJob, observer));
  const [indexer] = await Promise.all([indexing, removals.firstExpired]);
  let { lastStoredAt } = opened;

  // What comes of a batch counts also where it comes too late for its senders.
  const commit: Writer['commit'] = async (messages) => {
    const outcomes = await writer.commit(messages);
    const stored = outcomes.filter((outcome) => outcome === 'stored').length;
    if (stored > 0) lastStoredAt = now();
    indexer.stored(stored);
    return outcomes;
  };
  const groupCommit = createGroupCommit<Message, AppendOutcome>({ capacity: QUEUE_CAPACITY, commit: commitInTime(commit) });

  return {
    append: groupCommit.add,
    erase: removals.erase,
    hasRoom: groupCommit.hasRoom,
    ...createReads(createCheckedRead(readers.ask, indexer, observer), String(BEFORE_ALL_IDS)),
    async probe() {
      if (!readers.anyOpen()) throw new StorageUnavailable('a reader failed');
      await writer.probe();
    },
    sizes: () => readSizes(path),
    queueDepth: groupCommit.depth,
    readsWaiting: readers.waiting,
    indexLag: indexer.lag,
    lastStoredAt: () => lastStoredAt,
    degraded() {
      const unusable = indexer.unusable();
      return unusable === undefined ? [] : [`${unusable}: ${indexer.percent()} % of the messages are in it`];
    },
    engine: () => ({ name: 'sqlite', version: opened.engineVersion, host: undefined, isConnected: true }),
    generation: opened.generation,
    failure: writer.failure,
    async close() {
      removals.close();
      await groupCommit.close();
      // The last connection to a file copies its log into it and takes it away, if that is one that writes.
      const closing = [readers, indexer, writer];
      // What the log has of a file that was changed is all that there is.
      if (writer.filesChanged()) closing.reverse();
      for (const one of closing) await one.close();
    },
  };
}

async function readSizes(path: string): Promise<StorageSizes> {
  const size = (file: string) => stat(file).then((found) => found.size, () => undefined);
  const free = statfs(dirname(path)).then((disk) => disk.bavail * disk.bsize, () => undefined);
  const files = [path, `${path}-wal`, indexPathOf(path), `${indexPathOf(path)}-wal`];
  const [freeDiskBytes, databaseBytes, walBytes, indexBytes = 0, indexWalBytes = 0] = await Promise.all([free, ...files.map(size)]);
  return { databaseBytes, walBytes, indexBytes: indexBytes + indexWalBytes, freeDiskBytes };
}
