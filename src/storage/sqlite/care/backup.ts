/** A backup: a copy that gets its name only once it is whole, and never another one's. */
import { createHash } from 'node:crypto';
import { createReadStream, existsSync, linkSync, mkdirSync, readdirSync, realpathSync, rmSync, statSync } from 'node:fs';
import { basename, dirname, join, parse, resolve } from 'node:path';
import { StartRefused } from '../../../errors.ts';
import type { Backup, BackupOptions, CareOptions } from '../../care/options.ts';
import { adviceFor } from '../file/advice.ts';
import { resolveDatabasePath } from '../file/path.ts';
import { copyDatabase, removeCopy } from './copy.ts';
import { syncName } from './durable.ts';

const MS_PER_SECOND = 1000;
const MS_PER_DAY = 24 * 60 * 60 * 1000;
/** Of what has no name yet. */
const PARTIAL = '.partial';

/** Rejects with StartRefused where an operator has to mend something first. Nothing half made is left behind. */
export async function backUp(givenPath: string, options: BackupOptions): Promise<Backup> {
  const path = resolveDatabasePath(givenPath);
  const { now, keepDays, tell, signal } = options;
  const { file, isInFolder } = findTarget(options.target, path, now);
  if (keepDays !== null && !isInFolder) throw new StartRefused(['--keep-days wants a folder as TARGET']);
  const partial = file + PARTIAL;
  const copied = await copyDatabase(path, partial, { tell, signal, names: { source: 'DATABASE_URL', target: 'TARGET' } });
  try {
    const hashed = await hash(partial, { tell, signal });
    giveName(partial, file);
    const removed = keepDays === null ? 0 : removeOlder(file, path, now - keepDays * MS_PER_DAY);
    return { file, ...hashed, messages: copied.messages, newest_sequence: copied.newestSequence, removed };
  } finally {
    removeCopy(partial);
  }
}

interface Target {
  readonly file: string;
  readonly isInFolder: boolean;
}

/** Throws StartRefused where it is taken, or no file can be there. */
function findTarget(given: string, path: string, now: number): Target {
  const target = resolve(given);
  try {
    // The image of the service has nothing else that could make one.
    if (given.endsWith('/') && existsSync(dirname(target)) && !existsSync(target)) mkdirSync(target);
    const isInFolder = statSync(target, { throwIfNoEntry: false })?.isDirectory() === true;
    return { file: isInFolder ? nextNameIn(target, path, now) : requireFree(target, path), isInFolder };
  } catch (error) {
    const advice = error instanceof StartRefused ? undefined : adviceFor(error, target);
    throw advice === undefined ? error : new StartRefused([`TARGET: ${advice}`]);
  }
}

/** Two that are begun in the same second have each its own. */
function nextNameIn(folder: string, path: string, now: number): string {
  for (let time = now; ; time += MS_PER_SECOND) {
    const file = join(folder, nameAt(path, time));
    if (![file, file + PARTIAL].some((name) => existsSync(name))) return file;
  }
}

function requireFree(file: string, path: string): string {
  const folder = dirname(file);
  if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw new StartRefused([`TARGET: the folder ${folder} does not exist; create it, or name another one`]);
  }
  if (join(realpathSync(folder), basename(file)).startsWith(`${path}-`)) {
    throw new StartRefused([`TARGET: ${file} is a name for files that belong to the database; name another one`]);
  }
  if (statSync(file, { throwIfNoEntry: false }) !== undefined) throw taken(file);
  return file;
}

const taken = (file: string) => new StartRefused([`TARGET: ${file} exists; name another one`]);

/** Such as app-2026-11-28T11-05-00Z.db; in UTC. */
const nameAt = (path: string, time: number) => `${parse(path).name}-${new Date(time).toISOString().slice(0, 19).replaceAll(':', '-')}Z.db`;

async function hash(file: string, { tell, signal }: CareOptions): Promise<{ readonly bytes: number; readonly sha256: string }> {
  const of = statSync(file).size;
  const sha256 = createHash('sha256');
  let done = 0;
  for await (const chunk of createReadStream(file, { highWaterMark: 1024 * 1024 })) {
    signal.throwIfAborted();
    sha256.update(chunk);
    tell('hashing', { unit: 'bytes', done: done += chunk.length, of });
  }
  return { bytes: done, sha256: sha256.digest('hex') };
}

/** By link(2): rename(2) would replace what got that name meanwhile. Durable when it returns. */
function giveName(partial: string, file: string): void {
  try {
    linkSync(partial, file);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'EEXIST') throw taken(file);
    if (code !== 'EPERM' && code !== 'ENOTSUP') throw error;
    throw new StartRefused([
      `TARGET: the file system of ${dirname(file)} has no hard links, without which a file there could be replaced; name another one`,
    ]);
  }
  rmSync(partial);
  syncName(file);
}

/** Backups of this database in the folder of one, of before a time by their names, and what was left of those that were cut off. */
function removeOlder(file: string, path: string, before: number): number {
  const folder = dirname(file);
  const oldest = nameAt(path, before);
  const name = RegExp.escape(parse(path).name);
  const form = new RegExp(`^${name}-\\d{4}-\\d\\d-\\d\\dT\\d\\d-\\d\\d-\\d\\dZ\\.db(?:\\.partial(?:-journal)?)?$`);
  const older = readdirSync(folder, { withFileTypes: true })
    .filter((found) => found.isFile() && form.test(found.name) && found.name < oldest && found.name !== basename(file));
  for (const found of older) rmSync(join(folder, found.name), { force: true });
  syncName(file);
  return older.length;
}
