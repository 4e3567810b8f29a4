/** What an operator has to mend about a file that cannot be opened: for each kind of failure its own advice. */
import { accessSync, closeSync, constants, openSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { reasonOf, resultCode } from '../failures.ts';

const THIS_USER = `this user (uid ${process.getuid?.() ?? 'unknown'})`;
const NOT_PERMITTED = `cannot be written; make the file and its folder writable for ${THIS_USER}`;
const FULL = 'cannot be opened: the disk is full; free some space';

/** By the error of the system, errno(3). */
const ADVICE: Readonly<Record<string, string>> = {
  EACCES: NOT_PERMITTED,
  EPERM: NOT_PERMITTED,
  EROFS: 'cannot be written: it is on a read-only file system; mount that for writing, or name a file elsewhere',
  EMFILE: 'cannot be opened: this process has too many open files; raise its limit (ulimit -n)',
  ENFILE: 'cannot be opened: the system has too many open files; raise its limit (fs.file-max)',
  EISDIR: 'is not a file',
  ENOENT: 'cannot be opened: its folder does not exist; create it, or name another file',
  ENOTDIR: 'cannot be opened: a part of its path is not a folder',
  ENAMETOOLONG: 'has too long a name; name another file',
  ELOOP: 'is reached by links that lead to each other; name the file directly',
  EIO: 'cannot be used: the disk reports an error',
  ENOSPC: FULL,
  EDQUOT: FULL,
};

/** By what SQLite's error means, where that alone says what to do. */
const REMEDY: Partial<Record<ReturnType<typeof reasonOf>, string>> = {
  'the database is damaged': 'is not a SQLite database, or is damaged; move it away or restore a backup',
  'the database is locked by another process': 'is locked by another process; stop it, or wait until it lets go',
  'the disk is full': FULL,
  'the disk reports an error': 'cannot be used: the disk reports an error',
  'a sync to disk failed': 'cannot be made durable: a sync to disk failed',
};

interface Fault {
  readonly code: string;
  readonly file: string;
}

/** What is wrong with the file at this path and what to do about it, with its name; undefined where the error is of no file. */
export function adviceFor(error: unknown, path: string): string | undefined {
  const fault = faultOfSystem(error, path) ?? (mayBeOfSystem(error) ? findFault(path) : undefined);
  if (fault !== undefined) return `${fault.file} ${ADVICE[fault.code] ?? `cannot be opened (${fault.code})`}`;
  if (!(error instanceof Error) || resultCode(error) === undefined) return undefined;
  return `${path} ${REMEDY[reasonOf(error)] ?? `cannot be opened: ${error.message} (SQLite error ${resultCode(error)})`}`;
}

function faultOfSystem(error: unknown, file: string): Fault | undefined {
  return error instanceof Error && 'syscall' in error && 'code' in error ? { code: String(error.code), file } : undefined;
}

/** SQLite keeps the error of the system to itself. */
function mayBeOfSystem(error: unknown): boolean {
  return ['the database is read-only', 'the file cannot be opened'].includes(reasonOf(error));
}

/**
 * What whoever opens a database at this path for writing meets; undefined where that is nothing. No file of it is opened: closing
 * that again would let go of SQLite's locks (https://sqlite.org/howtocorrupt.html, 2.2).
 */
function findFault(path: string): Fault | undefined {
  let file = path;
  try {
    closeSync(openSync(dirname(path), 'r'));
    accessSync(dirname(path), constants.W_OK | constants.X_OK);
    for (const suffix of ['', '-wal', '-shm', '-journal']) {
      file = path + suffix;
      const found = statSync(file, { throwIfNoEntry: false });
      if (found?.isFile() === false) return { code: 'EISDIR', file };
      if (found !== undefined) accessSync(file, constants.R_OK | constants.W_OK);
    }
    return undefined;
  } catch (error) {
    return faultOfSystem(error, file);
  }
}
