/**
 * A restore. The copy of the backup is made and looked at beside the database, and then takes its name in one step, rename(2): so whenever
 * it is cut off, at the path of the database is what was there or what should be there. In this order:
 *
 * 1. The copy, without what was erased since in the database that is replaced (`erased-since.ts`), synced.
 * 2. A copy of the database as it is, with its log, under the name by which it is kept. (A second link to it would cost less, and leave a
 *    database that is refused in between: it must not have two names.)
 * 3. The log of the database is copied into it, as its next start would do.
 * 4. The read index is removed. The next start makes another one, and holds no position of before good (`indexing/identity.ts`).
 * 5. A log or journal that could not be copied into a damaged database is removed: it would be taken for that of the copy.
 * 6. The copy takes the name of the database.
 */
import { chownSync, copyFileSync, constants, existsSync, realpathSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { StartRefused } from '../../../errors.ts';
import type { Restored, RestoreOptions } from '../../care/options.ts';
import { AS_BY_DEFAULT, BUSY_TIMEOUT_MS } from '../connection-options.ts';
import { isDamage } from '../failures.ts';
import { adviceFor } from '../file/advice.ts';
import { resolveReplaceablePath } from '../file/path.ts';
import { lockForThisProcess } from '../file/process-lock.ts';
import { removeIndex } from '../indexing/identity.ts';
import { copyDatabase, inspectSource, removeCopy, requireRoom } from './copy.ts';
import { syncName, syncToDisk } from './durable.ts';

/** Of files that have no name yet. */
const COPY = '-restoring';
const KEPT_COPY = '-keeping';
/** What SQLite keeps beside a database, and would take for that of another one of its name. */
const BESIDE = ['-wal', '-journal'];

/** Rejects with StartRefused where an operator has to mend something first. */
export async function restore(givenPath: string, { source: givenSource, now, tell, signal }: RestoreOptions): Promise<Restored> {
  const path = resolveReplaceablePath(givenPath);
  const source = requireOtherFile(resolve(givenSource), path);
  const owner = ownerOf(path);
  const lock = lockForThisProcess(path);
  const [copy, keptCopy] = [path + COPY, path + KEPT_COPY];
  const removeCopies = () => {
    removeCopy(copy);
    for (const suffix of [...BESIDE, '']) rmSync(keptCopy + suffix, { force: true });
  };
  try {
    removeCopies();
    requireRoom(path, inspectSource(source, 'SOURCE') + sizeOf(path), 'DATABASE_URL');
    const names = { source: 'SOURCE', target: 'DATABASE_URL' };
    const { messages, newestSequence, erasedSince } = await copyDatabase(source, copy, { tell, signal, names, replaced: path });
    for (const file of [copy, `${path}-lock`]) giveTo(file, owner);
    signal.throwIfAborted();
    const replaced = keep(path, `${path}-replaced-${new Date(now).toISOString().replaceAll(/[-:]|\.\d+/g, '')}`);
    removeIndex(path);
    for (const suffix of [...BESIDE, '-shm']) rmSync(path + suffix, { force: true });
    syncName(path);
    renameSync(copy, path);
    syncName(path);
    return { file: path, messages, newest_sequence: newestSequence, erased_since: erasedSince, replaced };
  } catch (error) {
    const advice = adviceFor(error, path);
    throw advice === undefined ? error : new StartRefused([`DATABASE_URL: ${advice}`]);
  } finally {
    removeCopies();
    lock.release();
  }
}

/** Its real path. Throws StartRefused where there is none, or it is one that a restore writes to. */
function requireOtherFile(source: string, path: string): string {
  if (!existsSync(source)) throw new StartRefused([`SOURCE: ${source} does not exist`]);
  const real = realpathSync(source);
  if (real === path) throw new StartRefused([`SOURCE: ${source} is the database itself`]);
  if ([COPY, KEPT_COPY].some((suffix) => real === path + suffix)) {
    throw new StartRefused([`SOURCE: ${source} was left by a restore that was cut off, and may not be whole; name the backup`]);
  }
  return real;
}

/** Of the database with what is beside it, in bytes. */
const sizeOf = (path: string): number =>
  ['', ...BESIDE].reduce((bytes, suffix) => bytes + (statSync(path + suffix, { throwIfNoEntry: false })?.size ?? 0), 0);

interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** Of the database, or of the folder where there is none. */
const ownerOf = (path: string): Owner => statSync(path, { throwIfNoEntry: false }) ?? statSync(dirname(path));

/** Root can restore for the user that the service runs as. */
function giveTo(file: string, { uid, gid }: Owner): void {
  if (process.getuid?.() === 0) chownSync(file, uid, gid);
}

/** Copies what there is of the database to another name, and then its log into it. Null where there is nothing. */
function keep(path: string, name: string): string | null {
  // What makes a database of it last.
  const suffixes = [...BESIDE, ''].filter((suffix) => existsSync(path + suffix));
  if (suffixes.length === 0) return null;
  for (const suffix of suffixes) {
    copyFileSync(path + suffix, path + KEPT_COPY + suffix, constants.COPYFILE_FICLONE);
    giveTo(path + KEPT_COPY + suffix, ownerOf(path + suffix));
    syncToDisk(path + KEPT_COPY + suffix);
  }
  copyLogIntoFile(path);
  for (const suffix of suffixes) renameSync(path + KEPT_COPY + suffix, name + suffix);
  syncName(path);
  return name;
}

/** Leaves it where it is if the database is damaged. Throws StartRefused where another program has it open, and SQLite's errors. */
function copyLogIntoFile(path: string): void {
  // SQLite takes an empty file for a new database, and deletes a log that stands beside it.
  if ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) === 0) return;
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(path, { ...AS_BY_DEFAULT, timeout: BUSY_TIMEOUT_MS });
    database.exec('PRAGMA synchronous = FULL');
    if (database.prepare('PRAGMA wal_checkpoint(TRUNCATE)').get()?.['busy'] !== 0) {
      throw new StartRefused([`DATABASE_URL: ${path} is in use by another process; stop it, or wait until it lets go`]);
    }
    // Rolls back what a journal is there for.
    database.prepare('SELECT count(*) FROM sqlite_schema').get();
  } catch (error) {
    if (!isDamage(error)) throw error;
  } finally {
    database?.close();
  }
}
