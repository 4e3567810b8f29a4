import { Agent, request } from 'node:http';
import { message, sign } from './messages.ts';

/** How one message was answered: its status, or null where the connection ended without a whole answer. */
export interface Sent {
  readonly message_id: string;
  readonly status: number | null;
  readonly latencyMs: number;
}

/** Sends one signed message over the agent's connections. Never rejects. */
export function sendMessage(agent: Agent, port: number, message_id: string, secret?: string, text = 'Hello'): Promise<Sent> {
  const body = JSON.stringify(message({ message_id, text }));
  const begin = performance.now();
  return new Promise((resolve) => {
    const finish = (status: number | null) => resolve({ message_id, status, latencyMs: performance.now() - begin });
    const headers = { 'X-Signature': sign(body, secret), 'Content-Length': Buffer.byteLength(body) };
    const sending = request({ agent, port, host: '127.0.0.1', method: 'POST', path: '/webhook', headers }, (response) => {
      response.resume().on('end', () => finish(response.statusCode ?? null)).on('error', () => finish(null));
    });
    sending.on('error', () => finish(null)).end(body);
  });
}

export interface ClosedLoop {
  readonly sent: readonly Sent[];
  /** Sends no more; resolves when the last answer has come. */
  stop(): Promise<void>;
}

/** Sends from `connections` connections, each its next message when the last was answered. Connections that break are opened again. */
export function startClosedLoop(port: number, connections: number, nextId: () => string, text?: string): ClosedLoop {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  const sent: Sent[] = [];
  let stopped = false;
  const sender = async () => {
    while (!stopped) {
      const one = await sendMessage(agent, port, nextId(), undefined, text);
      sent.push(one);
      if (one.status === null) await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };
  const senders = Promise.all(Array.from({ length: connections }, sender));
  return {
    sent,
    async stop() {
      stopped = true;
      await senders;
      agent.destroy();
    },
  };
}

/** More than a service that keeps its latency bounded can need. */
const OPEN_LOOP_CONNECTIONS = 4000;

/** Sends `perSecond` messages a second for `durationMs` whatever the answers, so that a slow service cannot slow its load. */
export async function openLoop(port: number, perSecond: number, durationMs: number, nextId: () => string): Promise<Sent[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: OPEN_LOOP_CONNECTIONS });
  const answers: Promise<Sent>[] = [];
  const begin = performance.now();
  for (let elapsed = 0; elapsed < durationMs; elapsed = performance.now() - begin) {
    while (answers.length < (elapsed / 1000) * perSecond) answers.push(sendMessage(agent, port, nextId()));
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  const sent = await Promise.all(answers);
  agent.destroy();
  return sent;
}

/** The value that a share of the values does not exceed, by nearest rank; NaN of none. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? NaN;
}
