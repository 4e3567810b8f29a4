/** A copy of a database as it is at one moment, made beside whoever uses it (https://sqlite.org/lang_vacuum.html#vacuuminto). */
import { fork } from 'node:child_process';
import { closeSync, existsSync, openSync, rmSync, statfsSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { setPriority } from 'node:os';
import { dirname, extname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { StartRefused, type UnavailableReason } from '../../../errors.ts';
import type { CareOptions } from '../../care/options.ts';
import { AS_BY_DEFAULT, BUSY_TIMEOUT_MS } from '../connection-options.ts';
import { adviceFor } from '../file/advice.ts';
import { readPragma, requireUsable } from '../file/upgrade/usable.ts';

/** Left on each disk to whoever stores messages: a copy can be made later. */
const LEFT_FREE_BYTES = 32 * 1024 * 1024;
const LOOK_EVERY_MS = 100;
/** A nice value: who waits for an answer of the service goes first. */
const GIVING_WAY = 10;

/** What the process that copies says. */
export type CopyLine =
  | { readonly kind: 'copied' }
  | ({ readonly kind: 'checked' } & Copied)
  | { readonly kind: 'damaged'; readonly fault: string }
  | { readonly kind: 'failed'; readonly reason: UnavailableReason };

export interface Copied {
  readonly messages: number;
  readonly newestSequence: string;
  /** How many messages of the source are not in it, as they are erased in the database that is replaced; null where that cannot tell. */
  readonly erasedSince: number | null;
}

export interface CopyOptions extends CareOptions {
  /** What an operator calls the source, such as `DATABASE_URL`, and the target. */
  readonly names: { readonly source: string; readonly target: string };
  /** The database in whose place the copy will be put, which may be missing or damaged. */
  readonly replaced?: string;
}

/** How large a copy will be, in bytes. Throws StartRefused where the source is no database that messages can be kept in. */
export function inspectSource(source: string, name: string): number {
  const refuse = (problem: string) => new StartRefused([`${name}: ${source} ${problem}`]);
  let database: DatabaseSync | undefined;
  try {
    const found = statSync(source, { throwIfNoEntry: false });
    if (found === undefined) throw refuse('does not exist');
    if (!found.isFile()) throw refuse('is not a file');
    database = new DatabaseSync(source, { ...AS_BY_DEFAULT, readOnly: true, timeout: BUSY_TIMEOUT_MS });
    if (requireUsable(database, source).table === undefined) throw refuse('is empty');
    return bytesInUse(database);
  } catch (error) {
    if (error instanceof StartRefused) throw renamed(error, name);
    const advice = adviceFor(error, source);
    throw advice === undefined ? error : new StartRefused([`${name}: ${advice}`]);
  } finally {
    database?.close();
  }
}

/** Refusals are worded for the database of the service. */
const renamed = ({ problems }: StartRefused, name: string) =>
  new StartRefused(problems.map((problem) => problem.replace(/^DATABASE_URL:/, `${name}:`)));

function bytesInUse(database: DatabaseSync): number {
  const read = (pragma: string) => Number(readPragma(database, pragma));
  return (read('page_count') - read('freelist_count')) * read('page_size');
}

/** Bytes free for this user on the disk of a file. */
function freeBytesBeside(path: string): number {
  const { bavail, bsize } = statfsSync(dirname(path));
  return bavail * bsize;
}

/** Throws StartRefused where a file of so many bytes would fill the disk. */
export function requireRoom(target: string, bytes: number, name: string): void {
  const free = freeBytesBeside(target);
  if (free >= bytes + LEFT_FREE_BYTES) return;
  throw new StartRefused([`${name}: ${mega(bytes)} MB are needed in ${dirname(target)}, and ${mega(LEFT_FREE_BYTES)} MB besides, ` +
    `but ${mega(free)} MB are free; free some space, or name another folder`]);
}

const mega = (bytes: number) => (bytes / 1e6).toFixed(0);

/**
 * Copies a database to a path where nothing is, and resolves once the copy is synced and looked at. It holds a snapshot of the source
 * for so long: the log of a service goes on to grow meanwhile. Where it rejects nothing is left behind: with StartRefused where an
 * operator has to mend something first.
 */
export async function copyDatabase(source: string, target: string, options: CopyOptions): Promise<Copied> {
  const { signal, names } = options;
  const bytes = inspectSource(source, names.source);
  requireRoom(target, bytes, names.target);
  signal.throwIfAborted();
  claim(target, names.target);
  // Large sorts spill into temporary files; beside the copy is the one place sure to be writable.
  process.env['SQLITE_TMPDIR'] ??= dirname(target);
  try {
    return requireChecked(await runCopier(source, target, { ...options, bytes }), names);
  } catch (error) {
    removeCopy(target);
    throw error;
  }
}

/** Makes an empty file, which is the caller's alone, for its owner only. Throws StartRefused where there is one, or none can be made. */
function claim(target: string, name: string): void {
  try {
    closeSync(openSync(target, 'wx', 0o600));
  } catch (error) {
    if (existsSync(target)) {
      throw new StartRefused([`${name}: ${target} exists: another copy is being made, or was cut off; remove it in that case`]);
    }
    throw new StartRefused([`${name}: ${adviceFor(error, target) ?? String(error)}`]);
  }
  // Of one that was cut off and removed.
  rmSync(`${target}-journal`, { force: true });
}

/** Removes a copy that was not made to its end, with the journal that SQLite keeps beside it meanwhile. */
export function removeCopy(target: string): void {
  for (const suffix of ['', '-journal']) rmSync(target + suffix, { force: true });
}

function requireChecked(last: CopyLine | undefined, names: CopyOptions['names']): Copied {
  switch (last?.kind) {
    case 'checked': return last;
    case 'damaged': throw new StartRefused([`${names.source}: the copy is not whole: ${last.fault}; node dist/verify.js tells more`]);
    case 'failed': throw new StartRefused([`${last.reason === 'the disk is full' ? names.target : names.source}: ${last.reason}`]);
    case 'copied':
    case undefined: throw new Error('the process that copies was ended');
    default: return last satisfies never;
  }
}

/** Writes what there is of a copy to disk now and then: all at once would keep the disk from whoever waits for a commit. */
function createSyncPart(target: string): () => void {
  let isSyncing = false;
  return () => {
    if (isSyncing) return;
    isSyncing = true;
    // Where that fails, so does the sync at the end, which counts.
    void open(target, 'r').then((file) => file.sync().finally(() => file.close())).catch(() => {}).finally(() => { isSyncing = false; });
  };
}

/** Resolves with what it has said last. */
async function runCopier(source: string, target: string, options: CopyOptions & { readonly bytes: number }): Promise<CopyLine | undefined> {
  const { signal, tell, bytes, names, replaced } = options;
  const script = fileURLToPath(new URL(`./copy-process${extname(import.meta.url)}`, import.meta.url));
  const paths = [source, target, ...(replaced === undefined ? [] : [replaced])];
  const child = fork(script, paths, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  if (child.pid !== undefined) setPriority(child.pid, GIVING_WAY);
  let last: CopyLine | undefined;
  let stopped: unknown;
  const stop = (reason: unknown): void => {
    stopped ??= reason;
    child.kill('SIGKILL');
  };
  const onAbort = () => stop(signal.reason);
  signal.addEventListener('abort', onAbort);
  const syncPart = createSyncPart(target);
  const timer = setInterval(() => {
    syncPart();
    const step = last === undefined ? 'copying' : 'checking';
    tell(step, { unit: 'bytes', done: statSync(target, { throwIfNoEntry: false })?.size ?? 0, of: bytes });
    const short = [source, target].find((path) => freeBytesBeside(path) < LEFT_FREE_BYTES / 2);
    if (short !== undefined) stop(new StartRefused([`${names.target}: the disk of ${dirname(short)} is nearly full now; free some space`]));
  }, LOOK_EVERY_MS);
  tell('copying', { unit: 'bytes', done: 0, of: bytes });
  try {
    child.on('message', (line: CopyLine) => { last = line; });
    await new Promise((resolve, reject) => child.on('close', resolve).on('error', reject));
  } finally {
    clearInterval(timer);
    signal.removeEventListener('abort', onAbort);
  }
  if (stopped !== undefined) throw stopped;
  return last;
}
