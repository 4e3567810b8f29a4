import { StorageUnavailable, type UnavailableReason } from '../../errors.ts';

/** Result codes, https://sqlite.org/rescode.html. The low byte of an extended code is its primary one. */
const SQLITE_ERROR = 1;
const SQLITE_BUSY = 5;
const SQLITE_LOCKED = 6;
const SQLITE_READONLY = 8;
const SQLITE_IOERR = 10;
const SQLITE_CORRUPT = 11;
const SQLITE_FULL = 13;
const SQLITE_CANTOPEN = 14;
const SQLITE_NOTADB = 26;
const SQLITE_IOERR_SHORT_READ = 522;
const SQLITE_IOERR_FSYNC = 1034;
const SQLITE_IOERR_DIR_FSYNC = 1290;
/** A journal left by a crash has to be rolled back first, which a read-only connection may not do. */
export const SQLITE_READONLY_ROLLBACK = 776;

/** The extended result code of an error that node:sqlite threw, else undefined. */
export function resultCode(error: unknown): number | undefined {
  return error instanceof Error && 'errcode' in error && typeof error.errcode === 'number' ? error.errcode : undefined;
}

/** Whether a failure can come of a file that does not hold what it should: damaged, cut short, without a table, or no database at all. */
export function isDamage(error: unknown): boolean {
  const code = resultCode(error) ?? 0;
  return code === SQLITE_IOERR_SHORT_READ || [SQLITE_CORRUPT, SQLITE_NOTADB, SQLITE_ERROR].includes(code & 0xff);
}

/** What a failure of SQLite means to the service. An error that is already a StorageUnavailable keeps its reason. */
export function reasonOf(error: unknown): UnavailableReason {
  if (error instanceof StorageUnavailable) return error.reason;
  const code = resultCode(error);
  if (code === undefined) return 'the database failed';
  if (code === SQLITE_IOERR_FSYNC || code === SQLITE_IOERR_DIR_FSYNC) return 'a sync to disk failed';
  switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return 'the database is locked by another process';
    case SQLITE_READONLY: return 'the database is read-only';
    case SQLITE_IOERR: return 'the disk reports an error';
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return 'the database is damaged';
    case SQLITE_FULL: return 'the disk is full';
    case SQLITE_CANTOPEN: return 'the file cannot be opened';
    default: return 'the database failed';
  }
}
