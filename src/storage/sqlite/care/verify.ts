/**
 * Whether a database is what it should be: its pages, its messages, and its read index against them. All from one moment of both files,
 * which a service may go on to write; what its index does not have yet is nothing that is wrong with it. Memory is bounded: sorts spill
 * to disk.
 */
import { existsSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { StartRefused } from '../../../errors.ts';
import type { Verified, VerifyOptions } from '../../care/options.ts';
import { AS_BY_DEFAULT, BUSY_TIMEOUT_MS, readOnlyUri } from '../connection-options.ts';
import { isDamage, reasonOf } from '../failures.ts';
import { adviceFor } from '../file/advice.ts';
import { resolveDatabasePath } from '../file/path.ts';
import { SCHEMA_VERSION, unlikeDefined } from '../file/upgrade/own-objects.ts';
import { requireUsable } from '../file/upgrade/usable.ts';
import { isIndexUsable } from '../indexing/identity.ts';
import { indexPathOf } from '../indexing/schema.ts';
import { verifyIndex } from './verify-index.ts';
import { type Checking, verifyMessages, verifyPages } from './verify-messages.ts';
import { chooseSamples, verifySearches } from './verify-searches.ts';

const CACHE_KIB = 16 * 1024;

/** Rejects with StartRefused where it is nothing that messages are kept in. */
export async function verify(givenPath: string, { tell, say: sayProblem }: VerifyOptions): Promise<Verified> {
  let path = givenPath;
  let database: DatabaseSync | undefined;
  let problems = 0;
  const say = (problem: string): void => {
    problems += 1;
    sayProblem(problem);
  };
  try {
    path = resolveDatabasePath(givenPath);
    if ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) === 0) throw new StartRefused([`${path} does not exist, or is empty`]);
    process.env['SQLITE_TMPDIR'] ??= dirname(path);
    database = new DatabaseSync(path, { ...AS_BY_DEFAULT, readOnly: true, timeout: BUSY_TIMEOUT_MS });
    database.exec(`PRAGMA cache_size = -${CACHE_KIB}`);
    const checking = { database, tell, say };
    const version = versionOf(checking, path);
    if (version === undefined) return { file: path, problems };
    return { file: path, ...look(checking, path, version), problems };
  } catch (error) {
    if (error instanceof StartRefused) throw new StartRefused(error.problems.map((problem) => problem.replace(/^DATABASE_URL: /, '')));
    const advice = adviceFor(error, path);
    throw advice === undefined ? error : new StartRefused([advice]);
  } finally {
    database?.close();
  }
}

/** Undefined where it is damaged, which was said then. Throws StartRefused and SQLite's errors where it is nothing of ours. */
function versionOf(checking: Checking, path: string): number | undefined {
  try {
    return requireUsable(checking.database, path).version;
  } catch (error) {
    if (!isDamage(error)) throw error;
    checking.say(`the database: ${reasonOf(error)}, so not all of it could be looked at`);
    verifyPages(checking, 'main', 'the database', statSync(path).size);
    return undefined;
  }
}

interface Found {
  readonly schema: number;
  readonly messages: number;
  /** How many of them are in the read index; null where there is none that could be looked at. */
  readonly indexed: number | null;
}

function look(checking: Checking, path: string, version: number): Found {
  const { database, say, tell } = checking;
  if (version !== SCHEMA_VERSION) {
    verifyPages(checking, 'main', 'the database', statSync(path).size);
    const messages = Number(database.prepare('SELECT count(*) AS messages FROM messages').get()?.['messages']);
    return { schema: version, messages, indexed: null };
  }
  const hasIndex = attachIndex(checking, path);
  database.exec('BEGIN');
  // The index first, so that it is never of a later moment than the messages.
  const progress = hasIndex ? guarded(checking, 'the read index', () => database.prepare(`
    SELECT CAST(indexed_through AS TEXT) AS through, messages FROM read_index.progress`).get()) : undefined;
  const through = progress === undefined ? undefined : String(progress['through']);
  verifyPages(checking, 'main', 'the database', statSync(path).size);
  const unlike = unlikeDefined(database);
  if (unlike.length > 0) say(`the database: ${unlike.join(', ')} is missing or defined otherwise; the next start makes it anew`);
  const samples = progress === undefined ? [] : chooseSamples(database);
  const walked = guarded(checking, 'the database', () => verifyMessages(checking, through, samples));
  if (progress === undefined || through === undefined || walked === undefined) {
    return { schema: version, messages: walked?.messages ?? 0, indexed: null };
  }
  guarded(checking, 'the read index', () => {
    verifyPages(checking, 'read_index', 'the read index', statSync(indexPathOf(path)).size);
    verifyIndex(checking, { through, messages: walked.indexed });
    tell('searches', { unit: 'messages', done: 0, of: walked.messages });
    verifySearches(checking, samples, walked.matches);
  });
  return { schema: version, messages: walked.messages, indexed: Number(progress['messages']) };
}

/** Attaches the read index as `read_index`, where there is one of these messages; a backup has none, and that is no fault. */
function attachIndex(checking: Checking, path: string): boolean {
  const indexPath = indexPathOf(path);
  if (!existsSync(indexPath)) return false;
  return guarded(checking, 'the read index', () => {
    const index = new DatabaseSync(indexPath, { ...AS_BY_DEFAULT, readOnly: true, timeout: BUSY_TIMEOUT_MS });
    try {
      index.prepare('ATTACH ? AS inbox_file').run(readOnlyUri(path));
      if (!isIndexUsable(index)) {
        checking.say('the read index: it is of another version, or of other messages; the next start makes it anew');
        return false;
      }
    } finally {
      index.close();
    }
    checking.database.prepare('ATTACH ? AS read_index').run(readOnlyUri(indexPath));
    return true;
  }) ?? false;
}

/** Damage is a problem to be said, and what else there is to look at is looked at. */
function guarded<Result>({ say }: Checking, file: string, check: () => Result): Result | undefined {
  try {
    return check();
  } catch (error) {
    if (!isDamage(error)) throw error;
    say(`${file}: ${reasonOf(error)}, so not all of it could be looked at`);
    return undefined;
  }
}
