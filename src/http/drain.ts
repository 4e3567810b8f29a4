import type { Server } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import type { Connections } from './connections.ts';

export interface DrainReport {
  /** Requests answered while draining. */
  readonly drained: number;
  /** Requests whose answer had not left before the deadline. */
  readonly unanswered: number;
}

/** Time for requests that are already on their way when the service is told to stop. */
const GRACE_MS = 250;
/** Time for bodies that are half sent when the service is told to stop. */
const HALF_SENT_BODY_MS = 1000;
const POLL_INTERVAL_MS = 10;

/**
 * Ends a server: takes what is on its way, answers what was received whole, refuses bodies that do not come to their
 * end, and closes every connection, after `timeoutMs` milliseconds at the latest. (`server.close()` alone would wait
 * for a half-sent request for as long as its sender likes.)
 */
export async function drain(server: Server, connections: Connections, timeoutMs: number): Promise<DrainReport> {
  const deadline = performance.now() + timeoutMs;
  const until = async (done: () => boolean, atMostMs: number) => {
    const end = Math.min(performance.now() + atMostMs, deadline);
    while (!done() && performance.now() < end) await delay(POLL_INTERVAL_MS);
  };
  const isAnswered = () => connections.pending().length === 0;
  const isClosed = () => connections.open() === 0;

  connections.drain();
  await until(isClosed, GRACE_MS);
  server.close();
  server.closeIdleConnections();
  await until(isAnswered, HALF_SENT_BODY_MS);
  for (const exchange of connections.pending()) exchange.abortBody('shutting down');
  await until(isAnswered, timeoutMs);
  const unanswered = connections.pending().length;
  await until(isClosed, GRACE_MS);
  connections.close();
  return { drained: connections.drained(), unanswered };
}
