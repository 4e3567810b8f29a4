/**
 * The indexer thread: takes stored messages into the read index (`schema.ts`), behind the writer and without its lock, and makes
 * an index anew that cannot be used, while the service goes on. Entry point of a worker; see `indexer.ts` for the other side.
 */
import { statfsSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { parentPort, workerData } from 'node:worker_threads';
import { StorageUnavailable, type UnavailableReason } from '../../../errors.ts';
import { isDamage, reasonOf } from '../failures.ts';
import { countVisible } from '../file/hidden.ts';
import { identityOf } from '../file/identity.ts';
import { createRemains } from '../file/remains.ts';
import { checkpoint, createLogMeter } from '../file/write-ahead-log.ts';
import { createSnapshotGate, type GatedData } from '../snapshot-gate.ts';
import { isIndexUsable, removeIndex } from './identity.ts';
import { CHUNK_MESSAGES, createIndexWriter, type IndexWriter } from './index-writer.ts';
import type { IndexerMessage, IndexerRequest } from './protocol.ts';
import { indexPathOf, MOST_UNINDEXED, NOTE_GENERATION, openIndexForWriting } from './schema.ts';

/** Pages in the log of the index after which it is copied into its file: many, as each time the disk is busy with both files for long. */
const CHECKPOINT_EVERY_PAGES = 16_384;
/** What is left of the disk to the messages: an index can be made later, and reads do with one that is behind. */
const LEFT_FREE_BYTES = 32 * 1024 * 1024;
/** Nothing is taken in while pages are cleaned of what is gone, once after a checkpoint. */
const CLEAN_PAGES_FOR_MS = 100;
/** How often progress is told of, in milliseconds. */
const TELL_EVERY_MS = 1000;

interface OpenIndex extends IndexWriter {
  /** Throws StorageUnavailable where its path no longer leads to it, or it was cut short: it never shrinks by itself. */
  requireInPlace(): void;
  checkpointIfDue(): void;
  /** Tells that messages were taken out: nothing of them may stay in the log. */
  removed(): void;
  /** How many messages there are, and how many have vanished. */
  stored(): number;
  /** Whether each of its pages can be read and says what it should. Some seconds for 10 million messages. */
  isWhole(): boolean;
  /** To be removed: other connections to it lose their locks. */
  close(): void;
}

const { path, gate: gateMemory }: GatedData = workerData;
const gate = createSnapshotGate(gateMemory);
const indexPath = indexPathOf(path);
const tell = (message: IndexerMessage) => parentPort?.postMessage(message);
let index: OpenIndex | undefined;

function work({ kind }: IndexerRequest): void {
  try {
    if (kind === 'verify') return verify();
    index ??= open();
    index.requireInPlace();
    catchUp(index);
  } catch (error) {
    fail(error);
  }
}

/** A read has met damage, in the messages or in the index. */
function verify(): void {
  if (index !== undefined && !index.isWhole()) fail(new StorageUnavailable('the read index is damaged'));
}

/** Opens the index, or begins another where it is not of these messages as they are. Throws SQLite's errors and StorageUnavailable. */
function open(): OpenIndex {
  const database = openUsable() ?? openNew();
  database.exec(NOTE_GENERATION);
  const identity = identityOf(indexPath);
  const writer = createIndexWriter(database);
  let bytes = 0;
  const countStored = database.prepare(`
    SELECT vanished + ifnull(messages, ${countVisible('inbox_file')}) AS messages FROM inbox_file.inbox`);
  const check = database.prepare('PRAGMA main.quick_check(1)');
  const readLog = createLogMeter(database);
  const { vanished } = database.prepare('SELECT vanished FROM inbox_file.inbox').get() ?? {};
  const remains = createRemains({ database, path: indexPath, cleanForMs: CLEAN_PAGES_FOR_MS });
  // What an earlier process has taken out may be in it.
  if (Number(vanished) > 0) remains.removed();
  const opened: OpenIndex = {
    ...writer,
    requireInPlace() {
      const { size = 0 } = statSync(indexPath, { throwIfNoEntry: false }) ?? {};
      if (identityOf(indexPath) !== identity || size < bytes) throw new StorageUnavailable('the read index was removed or replaced');
      bytes = size;
    },
    checkpointIfDue() {
      const { pages, copied } = readLog();
      if (remains.isDue()) withoutReads(remains.isHeld(), () => checkpoint(database, indexPath, true));
      else if (pages - copied >= CHECKPOINT_EVERY_PAGES) checkpoint(database, indexPath);
      remains.tried();
    },
    removed: remains.removed,
    stored: () => Number(countStored.get()?.['messages']),
    isWhole() {
      try {
        return check.get()?.['quick_check'] === 'ok';
      } catch {
        return false;
      }
    },
    close() {
      database.close();
      remains.close();
    },
  };
  tell({ kind: 'opened', indexed: opened.accountedFor() });
  return opened;
}

/** Undefined where there is one that cannot be used. */
function openUsable(): DatabaseSync | undefined {
  let database: DatabaseSync | undefined;
  try {
    database = openIndexForWriting(path);
    if (isIndexUsable(database)) return database;
  } catch (error) {
    if (!isDamage(error)) throw error;
  }
  database?.close();
  return undefined;
}

function openNew(): DatabaseSync {
  removeIndex(path);
  return openIndexForWriting(path);
}

/** To wait for on a thread that does nothing meanwhile. */
const NEVER_CHANGED = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));

/** From asking reads to end to their end: a few of their steps, in milliseconds. */
const READS_END_MS = 100;

/** Asks own reads to end first, where they have to. */
function withoutReads(mustEnd: boolean, work: () => void): void {
  if (!mustEnd) return work();
  gate.close();
  try {
    Atomics.wait(NEVER_CHANGED, 0, 0, READS_END_MS);
    work();
  } finally {
    gate.open();
  }
}

/**
 * Takes out what was hidden, then in, chunk by chunk, what has come since, and tells how many messages are in the index then. While that
 * is so far behind that reads do without it and messages come, it rests for as long as it works, as the processors are the senders' first.
 */
function catchUp(index: OpenIndex): void {
  let toldAt = performance.now();
  const tellProgress = (): void => {
    if (performance.now() - toldAt < TELL_EVERY_MS) return;
    toldAt = performance.now();
    index.requireInPlace();
    tell({ kind: 'indexing', indexed: index.accountedFor() });
  };
  while (index.takeOut()) {
    index.removed();
    index.checkpointIfDue();
    tellProgress();
  }
  tell({ kind: 'takenOut', takenOut: index.takenOut() });
  for (let taken = CHUNK_MESSAGES; taken === CHUNK_MESSAGES;) {
    const [began, stored] = [performance.now(), index.stored()];
    if (stored > index.accountedFor()) requireRoom();
    taken = index.takeIn();
    while (index.indexNextPart()) tellProgress();
    index.checkpointIfDue();
    tellProgress();
    const isFarBehind = index.stored() - index.accountedFor() > MOST_UNINDEXED;
    if (isFarBehind && index.stored() > stored) Atomics.wait(NEVER_CHANGED, 0, 0, performance.now() - began);
  }
  while (index.forgetTexts()) index.checkpointIfDue();
  tell({ kind: 'indexed', indexed: index.accountedFor() });
}

function requireRoom(): void {
  const { bavail, bsize } = statfsSync(dirname(indexPath));
  if (bavail * bsize < LEFT_FREE_BYTES) throw new StorageUnavailable('the disk is nearly full');
}

/** What is lost is begun anew the next time: nothing tells which pages of it are still right, be it damaged or a sync have failed. */
const LOSSES: ReadonlySet<UnavailableReason> = new Set([
  'the read index is damaged', 'the read index was removed or replaced', 'a sync to disk failed',
]);

function fail(error: unknown): void {
  const reason = reasonOfDamage(error) ?? reasonOf(error);
  const isLost = LOSSES.has(reason);
  try {
    if (isLost) discard();
    tell({ kind: 'failed', reason, isLost });
  } catch (again) {
    tell({ kind: 'failed', reason: reasonOf(again), isLost });
  }
}

/** Damage that is not in the index is in the messages that it is made of. Undefined where it is none. */
function reasonOfDamage(error: unknown): UnavailableReason | undefined {
  if (!isDamage(error)) return undefined;
  return index?.isWhole() === true ? 'the database is damaged' : 'the read index is damaged';
}

function discard(): void {
  index?.close();
  index = undefined;
  removeIndex(path);
}

parentPort?.on('message', work);
tell({ kind: 'started' });
work({ kind: 'index' });
