import { freePort } from '../../support/free-port.ts';
import { startServerProcess } from '../../support/server-process.ts';
import type { Scope } from '../../support/temporary.ts';
import { waitFor } from '../../support/wait.ts';
import { LOOPBACK } from './node.ts';

const LAST_LINES = 10;

/** The built server, on a port of its own that it keeps when it starts again. */
export interface Receiver {
  readonly name: string;
  readonly url: string;
  /** Starts it, and waits until it answers that it lives. */
  start(): Promise<void>;
  /** Ends it by SIGKILL. */
  kill(): Promise<void>;
  /** The end of its log since it was last started, and all of its stderr. */
  log(): string;
}

/** Ends it with its scope. It runs once it is started. */
export async function createReceiver(scope: Scope, name: string, env: Readonly<Record<string, string>>): Promise<Receiver> {
  const port = await freePort();
  const url = `http://${LOOPBACK}:${port}`;
  let server: ReturnType<typeof startServerProcess> | undefined;
  const log = () => [...(server?.lines ?? []).slice(-LAST_LINES).map((line) => JSON.stringify(line)), server?.stderr() ?? ''].join('\n');
  return {
    name, url, log,
    async start() {
      const started = startServerProcess(scope, { script: 'dist/server.js', env: { ...env, PORT: String(port), LOG_LEVEL: 'WARNING' } });
      server = started;
      await waitFor(() => `${name}\n${log()}`, () => {
        if (started.child.exitCode !== null) throw new Error(`${name} ended\n${log()}`);
        return fetch(`${url}/health/live`).then(({ ok }) => ok, () => false);
      });
    },
    async kill() {
      server?.child.kill('SIGKILL');
      await server?.ended;
    },
  };
}
