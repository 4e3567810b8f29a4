/** An inbox of a test, in a file where the settings name no other DATABASE_URL, which processes serve one after the other, and what is sent to it. */
import { Agent } from 'node:http';
import { join } from 'node:path';
import { message, sign } from './messages.ts';
import { createMovedClock } from './moved-clock.ts';
import { ask } from './request.ts';
import { startServerProcess, type ServerProcess, type ServerProcessOptions } from './server-process.ts';
import { temporaryFolder, type Scope } from './temporary.ts';

const ERASE_TOKEN = 'a-token-for-erasing-only';
const CONNECTIONS = 8;

export interface Sent {
  readonly from: string;
  readonly message_id: string;
  /** By the server's clock. */
  readonly sentAt: number;
}

export type Inbox = ReturnType<typeof createInbox>;

/** The file, the clock, and the process of the moment. */
export function createInbox(scope: Scope, script: NonNullable<ServerProcessOptions['script']>, settings: Record<string, string> = {}) {
  const folder = temporaryFolder(scope);
  const path = join(folder, 'app.db');
  const clock = createMovedClock(folder, Date.UTC(2026, 0, 1));
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  scope.after(() => agent.destroy());
  let url = '';
  const statusOf = (answer: Promise<{ readonly status: number }>) => answer.then(({ status }) => status, () => null);
  return {
    path, clock,
    async start(): Promise<ServerProcess> {
      const env = { DATABASE_URL: path, ERASE_TOKEN, LOG_LEVEL: 'INFO', ...settings };
      const server = startServerProcess(scope, { script, env, nodeArguments: clock.nodeArguments });
      url = await server.url();
      return server;
    },
    async send({ from, message_id }: Sent, text = 'Hello'): Promise<boolean> {
      const body = JSON.stringify(message({ from, message_id, text }));
      return await statusOf(ask(`${url}/webhook`, { agent, method: 'POST', headers: { 'X-Signature': sign(body) }, body })) === 200;
    },
    async erase(from: string): Promise<boolean> {
      const headers = { Authorization: `Bearer ${ERASE_TOKEN}` };
      return await statusOf(ask(`${url}/messages?from=${encodeURIComponent(from)}`, { method: 'DELETE', headers })) === 200;
    },
    async totalOf(path: string, name: 'total' | 'total_messages' = 'total'): Promise<number> {
      const totals: Record<typeof name, number> = JSON.parse((await ask(url + path)).body);
      return totals[name];
    },
  };
}

/** Sends from some connections, each until one of its messages is not acknowledged, or it is stopped. */
export function startLoad(inbox: Inbox, next: () => Sent, acknowledged: Sent[]) {
  let stopped = false;
  const senders = Promise.all(Array.from({ length: CONNECTIONS }, async () => {
    while (!stopped) {
      const one = next();
      if (await inbox.send(one)) acknowledged.push(one);
      else stopped = true;
    }
  }));
  return {
    async stop() {
      stopped = true;
      await senders;
    },
  };
}
