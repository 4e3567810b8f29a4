import { Agent, request } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { message, sign } from './messages.ts';
import type { Scope } from './temporary.ts';
import { PATIENCE_MS } from './wait.ts';

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

export interface LoopOptions {
  /** Of the moment; that of the tests where there is none. */
  readonly secret?: () => string;
  readonly text?: string;
}

const PAUSE_AFTER_BREAK_MS = 50;

/**
 * Sends from `connections` connections, each its next message when the last was answered, until it is stopped or the scope ends.
 * Connections that break are opened again, until there has been no answer at all for `PATIENCE_MS`.
 */
export function startClosedLoop(scope: Scope, port: number, connections: number, nextId: () => string, { secret, text }: LoopOptions = {}): ClosedLoop {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  const sent: Sent[] = [];
  let stopped = false;
  let answeredAt = performance.now();
  const sender = async () => {
    while (!stopped && performance.now() - answeredAt < PATIENCE_MS) {
      const one = await sendMessage(agent, port, nextId(), secret?.(), text);
      sent.push(one);
      if (one.status === null) await delay(PAUSE_AFTER_BREAK_MS);
      else answeredAt = performance.now();
    }
  };
  const senders = Promise.all(Array.from({ length: connections }, sender));
  scope.after(async () => {
    stopped = true;
    // Ends the request that a service has left without an answer, too.
    agent.destroy();
    await senders;
  });
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

/**
 * Sends `perSecond` messages a second for `durationMs` whatever the answers, so that a slow service cannot slow its load. Where
 * the scope ends before, so do its connections.
 */
export async function openLoop(scope: Scope, port: number, perSecond: number, durationMs: number, nextId: () => string): Promise<Sent[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: OPEN_LOOP_CONNECTIONS });
  scope.after(() => agent.destroy());
  const answers: Promise<Sent>[] = [];
  const begin = performance.now();
  for (let elapsed = 0; elapsed < durationMs; elapsed = performance.now() - begin) {
    while (answers.length < (elapsed / 1000) * perSecond) answers.push(sendMessage(agent, port, nextId()));
    await delay(1);
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
