import { fstatSync, openSync, readSync, statSync } from 'node:fs';
import { endianness } from 'node:os';
import { StorageUnavailable } from '../../../errors.ts';

/** Whether the files of a database are those that they were. */
export interface FileIdentity {
  /** Throws StorageUnavailable where what was committed before the call would not be found after a restart. Some 20 µs. */
  require(): void;
  /** For the moment before a commit: throws StorageUnavailable where that would be in vain, or would hide that the log was cut off. */
  requireWholeLog(): void;
  /** Tells that the database file was written to past SQLite, by this process: from now on it is what it is. */
  written(): void;
}

/** Which file a path leads to; undefined where to none. A file that is open keeps its identity to itself (stat(2)). */
export function identityOf(path: string): string | undefined {
  const found = statSync(path, { bigint: true, throwIfNoEntry: false });
  return found === undefined ? undefined : `${found.dev}:${found.ino}`;
}

/**
 * A file unlinked, replaced, truncated or overwritten under its process keeps taking inserts without a word, and nobody will find
 * them again. So the paths have to lead to the files that they led to at this call, and the lock to be in place. And what SQLite says
 * of the files in the index of its log (https://sqlite.org/walformat.html#walidxfmt) has to be true:
 *
 * - The log begins with the salts of its index, and its last frame, which is the last commit's, is where the index says and has its
 *   checksum; so was and is the one that was the last before.
 * - The database file is not shorter than it was, and begins and ends as it did unless it is as old as it was or a checkpoint has gone
 *   on since: only checkpoints write to it. (One that was only touched still does; what was written into its middle, reads will meet.)
 *
 * The files are opened once and never closed before the process ends: closing one would let go of SQLite's locks on it
 * (https://sqlite.org/howtocorrupt.html, 2.2).
 */
export function createFileIdentity(path: string, lock: { isInPlace(): boolean }): FileIdentity {
  const logPath = `${path}-wal`;
  const indexPath = `${path}-shm`;
  const isSameFile = createSameFileCheck([path, logPath, indexPath]);
  const indexFile = openSync(indexPath, 'r');
  const logFile = openSync(logPath, 'r');
  const databaseFile = openSync(path, 'r');
  let seen = look();
  let edges = readEdges(databaseFile, Number(seen.size));
  let broken: StorageUnavailable | undefined;

  // Each look that finds a fault is made twice, as the first may have fallen into a checkpoint or another connection's commit.

  /** In this order, so that a checkpoint that begins in between is known before what it writes. */
  function look() {
    const index = readLogIndex(indexFile);
    const { size, mtimeNs } = statSync(path, { bigint: true });
    return { index, size, mtimeNs };
  }

  function isUnchanged(): boolean {
    const { index, size, mtimeNs } = look();
    if (index === null || !isLogWhole(logFile, index)) return false;
    // Where the log was cut off, the next commit has made it as long as it was.
    if (seen.index?.salts.equals(index.salts) && !hasLastFrame(logFile, seen.index)) return false;
    const mayHaveChanged = index.isCheckpointing || index.checkpoint !== seen.index?.checkpoint;
    const leastSize = BigInt(index.pages * index.pageBytes);
    const isAsOld = mtimeNs === seen.mtimeNs;
    const edgesNow = isAsOld && !mayHaveChanged ? edges : readEdges(databaseFile, Number(size));
    if (!isAsOld && !mayHaveChanged && !edgesNow.equals(edges)) return false;
    if (size < seen.size && size < leastSize) return false;
    seen = { index, size, mtimeNs };
    edges = edgesNow;
    return true;
  }

  const isLogLongEnough = () => hasEveryFrame(logFile, readLogIndex(indexFile));

  function breakFor(reason: 'the database file was changed by another program' | 'the lock file was removed or replaced'): never {
    broken = new StorageUnavailable(reason);
    throw broken;
  }

  return {
    written() {
      seen = look();
      edges = readEdges(databaseFile, Number(seen.size));
    },
    requireWholeLog() {
      if (broken !== undefined) throw broken;
      if (!isLogLongEnough() && !isLogLongEnough()) breakFor('the database file was changed by another program');
    },
    require() {
      if (broken !== undefined) throw broken;
      if (!lock.isInPlace()) breakFor('the lock file was removed or replaced');
      if (!isSameFile()) throw new StorageUnavailable('the database file was removed or replaced');
      if (!isUnchanged() && !isUnchanged()) breakFor('the database file was changed by another program');
    },
  };
}

/** Returns a check whether each path leads to the file that it leads to at this call. */
export function createSameFileCheck(paths: readonly string[]): () => boolean {
  const opened = paths.map(identityOf);
  return () => paths.map(identityOf).every((identity, index) => identity !== undefined && identity === opened[index]);
}

/** What the index of a log says. */
interface LogIndex {
  readonly pageBytes: number;
  /** Frames of the log that count. */
  readonly frames: number;
  /** Pages of the database, with all that is in the log. */
  readonly pages: number;
  readonly salts: Buffer;
  /** Of the last frame, as the log has it. */
  readonly checksum: Buffer;
  /** Another one after each checkpoint that has written. */
  readonly checkpoint: string;
  readonly isCheckpointing: boolean;
}

/** At the beginning are the header and the schema (https://sqlite.org/fileformat2.html#the_database_header). */
const EDGE_BYTES = 64 * 1024;
const INDEX_HEADER_BYTES = 136;
const LOG_HEADER_BYTES = 32;
const FRAME_HEADER_BYTES = 24;
const IS_LITTLE_ENDIAN = endianness() === 'LE';

/** Null where it is not whole. Numbers are in the byte order of the machine, salts in that of the log, which is big-endian. */
function readLogIndex(file: number): LogIndex | null {
  const header = readAt(file, INDEX_HEADER_BYTES, 0);
  if (header === null) return null;
  const number = (offset: number) => (IS_LITTLE_ENDIAN ? header.readUInt32LE(offset) : header.readUInt32BE(offset));
  const shortPageBytes = IS_LITTLE_ENDIAN ? header.readUInt16LE(14) : header.readUInt16BE(14);
  const checksum = Buffer.alloc(8);
  checksum.writeUInt32BE(number(24), 0);
  checksum.writeUInt32BE(number(28), 4);
  const salts = header.subarray(32, 40);
  const [backfilled, attempted] = [number(96), number(128)];
  return {
    pageBytes: shortPageBytes === 1 ? 65536 : shortPageBytes, frames: number(16), pages: number(20), salts, checksum,
    checkpoint: `${salts.toString('hex')}:${backfilled}:${attempted}`, isCheckpointing: attempted > backfilled,
  };
}

/** Whether the log begins and ends as its index says. */
function isLogWhole(file: number, index: LogIndex): boolean {
  if (index.frames === 0) return true;
  return readAt(file, LOG_HEADER_BYTES, 0)?.subarray(16, 24).equals(index.salts) === true && hasLastFrame(file, index);
}

function hasLastFrame(file: number, index: LogIndex): boolean {
  if (index.frames === 0) return true;
  const frame = readAt(file, FRAME_HEADER_BYTES, frameOffset(index, index.frames - 1));
  return frame !== null && frame.subarray(8, 16).equals(index.salts) && frame.subarray(16, 24).equals(index.checksum);
}

function hasEveryFrame(file: number, index: LogIndex | null): boolean {
  return index !== null && (index.frames === 0 || fstatSync(file).size >= frameOffset(index, index.frames));
}

/** Where a frame begins, counted from 0. */
function frameOffset({ pageBytes }: LogIndex, frame: number): number {
  return LOG_HEADER_BYTES + frame * (FRAME_HEADER_BYTES + pageBytes);
}

/** How a file of so many bytes begins and ends. */
function readEdges(file: number, size: number): Buffer {
  const bytes = Math.min(size, EDGE_BYTES);
  return Buffer.concat([0, size - bytes].map((position) => readAt(file, bytes, position) ?? Buffer.alloc(0)));
}

function readAt(file: number, bytes: number, position: number): Buffer | null {
  const read = Buffer.allocUnsafe(bytes);
  return readSync(file, read, 0, bytes, position) === bytes ? read : null;
}
