import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import { CHECKOUT } from './server-process.ts';
import type { Scope } from './temporary.ts';

export type Line = Readonly<Record<string, unknown>>;

export interface RunningCommand {
  readonly child: ChildProcess;
  /** Every line of stdout so far, parsed as JSON. */
  readonly lines: readonly Line[];
  readonly ended: Promise<Ended>;
}

export interface Ended {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  /** The last line. */
  readonly last: Line;
  readonly stderr: string;
}

/**
 * Starts a program of this service that does one thing and ends, on a database, and kills it after the test. `code`: as built, or as it
 * stands, for tests that need no build.
 */
export function startCommand(
  scope: Scope, name: 'backup' | 'restore' | 'verify', databaseUrl: string, args: readonly string[], environment: Record<string, string> = {},
  code: 'dist' | 'src' = 'src',
): RunningCommand {
  const { NODE_COMPILE_CACHE, NODE_V8_COVERAGE } = process.env;
  const child = spawn(process.execPath, [join(CHECKOUT, code, name + (code === 'dist' ? '.js' : '.ts')), ...args], {
    env: {
      DATABASE_URL: databaseUrl, ...environment, ...(NODE_COMPILE_CACHE !== undefined && { NODE_COMPILE_CACHE }),
      ...(NODE_V8_COVERAGE !== undefined && { NODE_V8_COVERAGE }),
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  scope.after(() => void child.kill('SIGKILL'));
  const lines: Line[] = [];
  let stderr = '';
  createInterface(child.stdout).on('line', (line) => lines.push(JSON.parse(line)));
  child.stderr.on('data', (chunk) => { stderr += String(chunk); });
  const ended = new Promise<Ended>((resolve) => {
    child.on('close', (status, signal) => resolve({ status, signal, last: lines.at(-1) ?? {}, stderr }));
  });
  return { child, lines, ended };
}

/** The same to its end. */
export const runCommand = (...command: Parameters<typeof startCommand>): Promise<Ended> => startCommand(...command).ended;
