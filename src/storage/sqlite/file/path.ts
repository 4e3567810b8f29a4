import { lstatSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { StartRefused } from '../../../errors.ts';
import { adviceFor } from './advice.ts';

/**
 * The one true path of a database, with every symbolic link followed: SQLite's own files, the lock and the check for a
 * replaced file all stand beside it. Throws StartRefused where there can be no database.
 */
export const resolveDatabasePath = (path: string): string => requireNoOrphanedLog(resolveReplaceablePath(path));

/** The same for a database that is to be replaced: it may be gone while its log is not. */
export function resolveReplaceablePath(path: string): string {
  try {
    return resolve(path);
  } catch (error) {
    const advice = adviceFor(error, path);
    throw advice === undefined ? error : refuse(advice);
  }
}

const refuse = (problem: string) => new StartRefused([`DATABASE_URL: ${problem}`]);
const look = (path: string) => statSync(path, { throwIfNoEntry: false });

function resolve(path: string): string {
  const folder = dirname(path);
  const foundFolder = look(folder);
  if (foundFolder === undefined) throw refuse(`the folder ${folder} does not exist; create it, or name another file`);
  if (!foundFolder.isDirectory()) throw refuse(`${folder} is not a folder`);
  const found = look(path);
  if (found === undefined && lstatSync(path, { throwIfNoEntry: false }) !== undefined) {
    throw refuse(`${path} is a link to a file that does not exist; create that file, or name it directly`);
  }
  if (found === undefined) return join(realpathSync(folder), basename(path));

  if (!found.isFile()) throw refuse(`${path} is not a file`);
  // SQLite would keep a log of changes beside each name, and neither would know of the other (https://sqlite.org/howtocorrupt.html).
  if (found.nlink > 1) throw refuse(`${path} has another name (a hard link); remove one of them`);
  return realpathSync(path);
}

/** SQLite takes an empty file for a new database, and deletes a log that stands beside it (https://sqlite.org/wal.html#the_wal_file). */
function requireNoOrphanedLog(path: string): string {
  const sizeOf = (file: string) => look(file)?.size ?? 0;
  if (sizeOf(path) > 0 || sizeOf(`${path}-wal`) === 0) return path;
  throw refuse(`${path} is gone or empty, but its log ${path}-wal is not: put the file back, or restore a backup, or move the log away`);
}
