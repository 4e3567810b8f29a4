/**
 * Copies a database and looks at the copy: a process of its own, as a running statement cannot be interrupted otherwise than by the end of
 * its process. Entry point, started by `copy.ts`: the arguments are both paths, and in a restore that of the database that is replaced;
 * what becomes of it is said in messages. The statements run in a thread, so that the process hears when the program that started it is
 * gone, and ends: its file may be another one's by then, and the log of a service grows as long as its snapshot is held.
 */
import { closeSync, fsyncSync, openSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { AS_BY_DEFAULT, BUSY_TIMEOUT_MS } from '../connection-options.ts';
import { reasonOf } from '../failures.ts';
import { SELECT_NEWEST } from '../file/generations.ts';
import { isVisible, readHiddenNow } from '../file/hidden.ts';
import { createRemembered } from '../file/remembered.ts';
import { createRemoval } from '../file/removal.ts';
import { inTransaction } from '../file/transaction.ts';
import { BEFORE_ALL_IDS, LAST_ID } from '../row-ids.ts';
import type { CopyLine } from './copy.ts';
import { removeErasedSince } from './erased-since.ts';

const tell = (line: CopyLine) => parentPort?.postMessage(line);
const open = (path: string) => new DatabaseSync(path, { ...AS_BY_DEFAULT, readOnly: true, timeout: BUSY_TIMEOUT_MS });

/** The newest sequence, which only grows; as far as the file knows it. */
function readNewest(database: DatabaseSync): bigint {
  const knowsSequences = database.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'").get() !== undefined;
  return knowsSequences ? BigInt(String(database.prepare(SELECT_NEWEST).get()?.['sequence'])) : 0n;
}

interface Made {
  /** Between which sequences its moment lies. */
  readonly earliest: bigint;
  readonly latest: bigint;
  readonly erasedSince: number | null;
}

/** Copies what one moment shows, without what was deleted. */
function copy(source: string, target: string, replaced: string | undefined): Made {
  const database = open(source);
  const earliest = readNewest(database);
  database.prepare('VACUUM INTO ?').run(target);
  const latest = readNewest(database);
  database.close();
  const erasedSince = removeErased(target, replaced);
  const file = openSync(target, 'r+');
  fsyncSync(file);
  closeSync(file);
  return { earliest, latest, erasedSince };
}

/** What is erased and still has its row is in no answer, and must be in no copy either. Returns what `removeErasedSince` does. */
function removeErased(target: string, replaced: string | undefined): number | null {
  const database = new DatabaseSync(target, { ...AS_BY_DEFAULT, timeout: BUSY_TIMEOUT_MS });
  try {
    const areErased = readHiddenNow(database).areErased && database.prepare('SELECT 1 FROM hidden').get() !== undefined;
    if (areErased) {
      const removal = createRemoval(database, createRemembered(database));
      inTransaction(database, () => {
        while (!removal.remove({ erasedThrough: LAST_ID, expiredThrough: BEFORE_ALL_IDS, rememberUntil: 0 }).isDone);
      });
    }
    const erasedSince = replaced === undefined ? null : removeErasedSince(database, replaced);
    if (areErased || (erasedSince ?? 0) > 0) database.exec('VACUUM');
    return erasedSince;
  } finally {
    database.close();
  }
}

/** Looks at a copy as if nothing were known of how it was made. */
function check(target: string, { earliest, latest, erasedSince }: Made): CopyLine {
  const database = open(target);
  const faults = database.prepare('PRAGMA quick_check(1)').get()?.['quick_check'];
  if (faults !== 'ok') return { kind: 'damaged', fault: String(faults) };
  const newest = readNewest(database);
  const visible = isVisible('messages.id', readHiddenNow(database));
  const messages = Number(database.prepare(`SELECT count(*) AS messages FROM messages WHERE ${visible}`).get()?.['messages']);
  const hasCount = database.prepare("SELECT 1 FROM pragma_table_info('inbox') WHERE name = 'messages'").get() !== undefined;
  const counted = hasCount ? database.prepare('SELECT messages FROM inbox').get()?.['messages'] ?? messages : messages;
  database.close();
  if (newest < earliest || newest > latest) {
    return { kind: 'damaged', fault: `its newest sequence is ${newest}, and that of the source went from ${earliest} to ${latest}` };
  }
  if (counted !== messages) return { kind: 'damaged', fault: `it has ${messages} messages, and counts ${String(counted)}` };
  return { kind: 'checked', messages, newestSequence: String(newest), erasedSince };
}

function copyAndCheck([source, target, replaced]: readonly string[]): void {
  if (source === undefined || target === undefined) throw new Error('copy-process.ts is started by copy.ts only');
  try {
    const made = copy(source, target, replaced);
    tell({ kind: 'copied' });
    tell(check(target, made));
  } catch (error) {
    tell({ kind: 'failed', reason: reasonOf(error) });
  }
}

function runInThread(args: readonly string[]): void {
  // Even process.exit() would wait for the statement.
  const end = () => process.kill(process.pid, 'SIGKILL');
  process.once('disconnect', end);
  new Worker(new URL(import.meta.url), { argv: [...args] })
    .on('message', (line: CopyLine) => process.send?.(line))
    .on('exit', () => process.off('disconnect', end));
}

if (isMainThread) runInThread(process.argv.slice(2));
else copyAndCheck(process.argv.slice(2));
