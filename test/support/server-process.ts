import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import { SECRET } from './messages.ts';
import type { Scope } from './temporary.ts';
import { waitFor } from './wait.ts';

export const CHECKOUT = join(import.meta.dirname, '../..');

export interface ServerProcess {
  readonly child: ChildProcess;
  /** Every line of stdout, parsed as JSON. */
  readonly lines: Readonly<Record<string, unknown>>[];
  readonly stderr: () => string;
  /** Reads no more of stdout, so that the process finds nobody to take its log. */
  readonly stallLog: () => void;
  /** Resolves when the process has ended. */
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  /** Waits for a log line with this `event`. */
  line(event: string): Promise<Readonly<Record<string, unknown>>>;
  /** Waits until the service listens, and returns its base URL. */
  url(): Promise<string>;
}

export interface ServerProcessOptions {
  readonly env: Record<string, string>;
  /** `dist/server.js` as shipped, or `src/server.ts` for tests that need no build. */
  readonly script?: 'dist/server.js' | 'src/server.ts' | 'test/torture/slow-storage-server.ts';
  readonly nodeArguments?: readonly string[];
  readonly args?: readonly string[];
  readonly uid?: number;
  /** A command that starts the process in its own way, such as strace. */
  readonly wrapper?: readonly string[];
}

/** Starts the service as a process of its own, on a free loopback port, and ends it after the test. */
export function startServerProcess(scope: Scope, options: ServerProcessOptions): ServerProcess {
  const { env, script = 'src/server.ts', nodeArguments = [], args = [], uid, wrapper = [] } = options;
  // Node.js hands its own setting on to children; another user could not write where the coverage goes.
  const noCoverage = uid === undefined ? {} : { NODE_V8_COVERAGE: '' };
  const { NODE_COMPILE_CACHE } = process.env;
  const cache = NODE_COMPILE_CACHE === undefined ? {} : { NODE_COMPILE_CACHE };
  const [command = process.execPath, ...commandLine] = [...wrapper, process.execPath, ...nodeArguments, join(CHECKOUT, script), ...args];
  const child = spawn(command, commandLine, {
    env: { ...('WEBHOOK_SECRET_FILE' in env ? {} : { WEBHOOK_SECRET: SECRET }), HOST: '127.0.0.1', PORT: '0', ...cache, ...noCoverage, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(uid !== undefined && { uid, gid: uid }),
  });
  const lines: Readonly<Record<string, unknown>>[] = [];
  let stderr = '';
  const log = createInterface(child.stdout).on('line', (line) => lines.push(JSON.parse(line)));
  child.stderr.on('data', (chunk) => { stderr += String(chunk); });
  const ended = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.on('close', (code, signal) => resolve({ code, signal }));
    // It was never started: there is nothing to wait for.
    child.on('error', (error) => {
      stderr += error.message;
      resolve({ code: null, signal: null });
    });
  });
  scope.after(async () => {
    child.kill('SIGKILL');
    // What a test has left unread would keep the end from being seen.
    child.stdout.destroy();
    await ended;
  });

  const line: ServerProcess['line'] = (event) =>
    waitFor(() => `the log line ${event}; stderr: ${stderr}`, () => lines.find((found) => found['event'] === event));
  return {
    child, lines, stderr: () => stderr, stallLog: () => log.close(), ended, line,
    url: async () => `http://127.0.0.1:${(await line('listening'))['port']}`,
  };
}
