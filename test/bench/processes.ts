/** The processes of the benchmark: the service as shipped, the bare server beside it, and what sends to them. */
import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process';
import { openSync, closeSync, readdirSync, readFileSync } from 'node:fs';
import { request, type IncomingHttpHeaders } from 'node:http';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { SECRET } from '../support/messages.ts';
import { CHECKOUT } from '../support/server-process.ts';
import { temporaryFolder, type Scope } from '../support/temporary.ts';
import type { Job, Result } from './load-generator.ts';

const LOOK_EVERY_MS = 2;
/** USER_HZ, the same on every Linux of today (proc(5), time(7)). */
const TICKS_PER_SECOND = 100;

export interface Server {
  readonly port: number;
  readonly url: string;
  /** The most resident memory so far, in MB (VmHWM of proc(5)). */
  peakMegabytes(): number;
  /** The processor time so far of its threads of this name, or of all that still run, in seconds (proc(5)). */
  processorSeconds(thread?: string): number;
  /** Resolves when it has ended; rejects where SIGTERM did not end it with status 0. */
  end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void>;
}

function startProcess(scope: Scope, args: readonly string[], stdio: StdioOptions, env: Record<string, string> = {}) {
  const child: ChildProcess = spawn(process.execPath, args, { env, stdio });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  scope.after(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  return { child, ended, hasEnded: () => child.exitCode !== null || child.signalCode !== null };
}

/** What a program of this project logs once it listens. */
const LISTENING = /"event":"listening".*"port":(\d+)/;

export interface ServerOptions {
  readonly env?: Record<string, string>;
  /** Finds its port in its log. */
  readonly listening?: RegExp;
  readonly nodeOptions?: readonly string[];
}

/** Its stdout goes to a file: a pipe would have this process take part in the work. */
export async function startServer(scope: Scope, script: string, options: ServerOptions = {}): Promise<Server> {
  const { env = {}, listening = LISTENING, nodeOptions = [] } = options;
  const logPath = join(temporaryFolder(scope), 'log');
  const log = openSync(logPath, 'w');
  const { child, ended, hasEnded } = startProcess(scope, [...nodeOptions, resolve(CHECKOUT, script)], ['ignore', log, 'inherit'], env);
  closeSync(log);
  let port: string | undefined;
  while (port === undefined) {
    await delay(LOOK_EVERY_MS);
    if (hasEnded()) throw new Error(`${script} ended: ${readFileSync(logPath, 'utf8')}`);
    port = listening.exec(readFileSync(logPath, 'utf8'))?.[1];
  }
  return {
    port: Number(port),
    url: `http://127.0.0.1:${port}`,
    peakMegabytes: () => Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1]) / 1024,
    processorSeconds: (thread) => (child.pid === undefined ? NaN : processorSeconds(child.pid, thread)),
    async end(signal) {
      child.kill(signal);
      await ended;
      if (signal === 'SIGTERM' && child.exitCode !== 0) throw new Error(`${script} ended with ${child.exitCode ?? child.signalCode}`);
    },
  };
}

/** User and system time, in ticks, are the 12th and 13th field behind the name, which is in brackets. */
function processorSeconds(pid: number, wanted?: string): number {
  return readdirSync(`/proc/${pid}/task`).reduce((seconds, thread) => {
    const [, name, fields = ''] = /\((.*)\) (.*)/.exec(readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8')) ?? [];
    if (name !== (wanted ?? name)) return seconds;
    const [user, system] = fields.split(' ').slice(11, 13);
    return seconds + (Number(user) + Number(system)) / TICKS_PER_SECOND;
  }, 0);
}

export const startBareServer = (scope: Scope) => startServer(scope, 'test/bench/bare-server.ts');

export type Service = Server & { readonly readyMs: number };

/** The service as shipped, or changed by options of Node.js, with a DATABASE_URL, once it is ready, however long that takes. */
export async function startService(
  scope: Scope, database: string, nodeOptions: readonly string[] = [], settings: Record<string, string> = {},
): Promise<Service> {
  const begin = performance.now();
  const env = { WEBHOOK_SECRET: SECRET, DATABASE_URL: database, HOST: '127.0.0.1', PORT: '0', LOG_LEVEL: 'INFO', ...settings };
  const service = await startServer(scope, 'dist/server.js', { env, nodeOptions });
  while ((await get(`${service.url}/health/ready`)).status !== 200) await delay(LOOK_EVERY_MS);
  return { ...service, readyMs: performance.now() - begin };
}

export interface Load {
  /** Resolves when the first request is about to be sent. */
  readonly started: Promise<void>;
  readonly result: Promise<Result>;
  /** Ends it without a result. */
  cutOff(): void;
}

export function startLoad(scope: Scope, job: Job): Load {
  const script = join(import.meta.dirname, 'load-generator.ts');
  const { child } = startProcess(scope, [script, JSON.stringify(job)], ['ignore', 'pipe', 'inherit']);
  const started = Promise.withResolvers<void>();
  const result = Promise.withResolvers<Result>();
  if (child.stdout !== null) {
    createInterface(child.stdout).on('line', (text) => {
      const line: { event: 'started' } | Result = JSON.parse(text);
      if (line.event === 'started') started.resolve();
      else result.resolve(line);
    });
  }
  child.once('close', (code, signal) => {
    const error = new Error(`the load generator ended with ${code ?? signal}`);
    started.reject(error);
    result.reject(error);
  });
  // A load that is cut off on purpose is not waited for.
  started.promise.catch(() => {});
  result.promise.catch(() => {});
  return { started: started.promise, result: result.promise, cutOff: () => void child.kill('SIGKILL') };
}

export const runLoad = (scope: Scope, job: Job) => startLoad(scope, job).result;

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  /** From before the request to the last byte of the answer. */
  readonly ms: number;
}

export function get(url: string): Promise<Answer> {
  const begin = performance.now();
  return new Promise((resolve, reject) => {
    request(url, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (piece) => { body += String(piece); }).on('error', reject).on('end', () => {
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body, ms: performance.now() - begin });
      });
    }).on('error', reject).end();
  });
}
