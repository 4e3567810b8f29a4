import { join } from 'node:path';
import { startApp, type App, type AppOptions } from '../../src/app.ts';
import type { Config } from '../../src/config/config.ts';
import { readCredentials } from '../../src/config/credentials.ts';
import { readEnvironment } from '../../src/config/environment.ts';
import { createLog } from '../../src/observe/log.ts';
import { openStorage } from '../../src/storage/open.ts';
import { configOf } from './config.ts';
import { message, SECRET, sign } from './messages.ts';
import { whenReadable } from './storage.ts';
import { temporaryFolder, type Scope } from './temporary.ts';

type LogLine = Readonly<Record<string, unknown>>;

export interface TestApp {
  readonly url: string;
  /** Where everything but the webhook is: the same, unless a private port is set. */
  readonly privateUrl: string;
  readonly port: number;
  readonly databasePath: string;
  /** Every log line so far, parsed. */
  readonly logs: LogLine[];
  readonly stop: () => ReturnType<App['stop']>;
  /** Reads the credentials again, as SIGHUP does. */
  readonly reload: () => void;
  get(path: string, init?: RequestInit): Promise<Response>;
  /** Sends a body with the right signature. */
  post(body: string | Uint8Array<ArrayBuffer>, headers?: Record<string, string>): Promise<Response>;
  /** Sends a valid message with the right signature. */
  send(changes?: Parameters<typeof message>[0]): Promise<Response>;
  /** The value of one series of /metrics, such as `webhook_requests_total{result="ok"}`; undefined where there is none. */
  metric(series: string): Promise<number | undefined>;
}

const TEST_VARIABLES = { WEBHOOK_SECRET: SECRET, HOST: '127.0.0.1', PORT: '0', LOG_LEVEL: 'DEBUG' };

export function testConfig(environment: Record<string, string> = {}): Config {
  return configOf({ ...TEST_VARIABLES, ...environment });
}

const openReadable: typeof openStorage = async (options) => whenReadable(await openStorage(options));

/** Starts the real service on a free port with a temporary database, and ends it after the test. */
export async function startTestApp(
  scope: Scope, environment: Record<string, string> = {}, open: NonNullable<AppOptions['openStorage']> = openReadable,
): Promise<TestApp> {
  const databasePath = environment['DATABASE_URL'] ?? join(temporaryFolder(scope), 'app.db');
  const variables = { ...TEST_VARIABLES, ...environment, DATABASE_URL: databasePath };
  const config = configOf(variables);
  const logs: LogLine[] = [];
  const lines = { write: (line: string) => void logs.push(JSON.parse(line)), dropped: () => 0, flush: async () => {} };
  const app = await startApp({
    config, log: createLog(lines, config.logLevel), announce() {}, droppedLogLines: lines.dropped,
    openStorage: open,
  });
  let stopped: ReturnType<typeof app.stop> | undefined;
  const stop = () => (stopped ??= app.stop());
  scope.after(async () => void (await stop()));

  const url = `${config.tls === null ? 'http' : 'https'}://127.0.0.1:${app.port}`;
  const privateUrl = app.privatePort === null ? url : `http://127.0.0.1:${app.privatePort}`;
  const get: TestApp['get'] = (path, init) => fetch(url + path, init);
  const post: TestApp['post'] = (body, headers = {}) =>
    fetch(`${url}/webhook`, { method: 'POST', body, headers: { 'X-Signature': sign(body), ...headers } });
  return {
    url, privateUrl, port: app.port, databasePath, logs, stop, get, post,
    reload: () => app.reload(readEnvironment(variables, (again) => readCredentials(again, config))),
    send: (changes) => post(JSON.stringify(message(changes))),
    async metric(series) {
      const text = await (await fetch(`${privateUrl}/metrics`)).text();
      const line = text.split('\n').find((candidate) => candidate.startsWith(`${series} `));
      return line === undefined ? undefined : Number(line.slice(series.length + 1));
    },
  };
}
