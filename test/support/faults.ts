/**
 * Makes SQLite fail in a server process: loaded there with `--import`, it runs in every thread before the service does
 * and looks before each statement, as it runs or is prepared, whether the file named in its own query string asks for a fault.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { DatabaseSync } from 'node:sqlite';
import { threadName } from 'node:worker_threads';

export interface Fault {
  /** The thread that it strikes. */
  readonly thread: 'writer' | 'reader' | 'indexer' | 'checkpointer';
  /** The statements that it strikes, by their first words. */
  readonly statements: readonly string[];
  /** An SQLite result code to fail with, a thread's death, or a statement that takes this long. */
  readonly effect: { readonly errcode: number } | { readonly die: true } | { readonly busyMs: number };
}

const controlPath = new URL(import.meta.url).searchParams.get('control');

if (controlPath !== null) {
  const exec = DatabaseSync.prototype.exec;
  const prepare = DatabaseSync.prototype.prepare;
  const strikeIfAsked = (sql: string): void => {
    const fault: Fault | null = existsSync(controlPath) ? JSON.parse(readFileSync(controlPath, 'utf8')) : null;
    if (fault !== null && fault.thread === threadName && fault.statements.some((words) => sql.startsWith(words))) strike(fault.effect);
  };
  DatabaseSync.prototype.exec = function execOrFail(sql) {
    strikeIfAsked(sql);
    exec.call(this, sql);
  };
  DatabaseSync.prototype.prepare = function prepareOrFail(sql, options) {
    strikeIfAsked(sql);
    return prepare.call(this, sql, options);
  };
}

function strike(effect: Fault['effect']): void {
  if ('die' in effect) process.exit(1);
  if ('errcode' in effect) throw Object.assign(new Error('injected'), { code: 'ERR_SQLITE_ERROR', errcode: effect.errcode });
  const end = performance.now() + effect.busyMs;
  while (performance.now() < end);
}

/** A switch for faults in a server process; pass `nodeArguments` to it. */
export function createFaults(folder: string) {
  const path = join(folder, 'fault.json');
  const url = pathToFileURL(import.meta.filename);
  url.searchParams.set('control', path);
  return {
    nodeArguments: ['--import', url.href],
    set: (fault: Fault | null) => writeFileSync(path, JSON.stringify(fault)),
  };
}
