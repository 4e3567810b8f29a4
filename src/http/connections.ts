import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { createExchange, type OpenExchange } from './exchange.ts';

/** What is known of one connection. node:http reads its requests one after the other. */
export interface Connection {
  /** Its newest request. */
  latest: OpenExchange | undefined;
  unanswered: number;
  /** Takes no more requests, and ends with the answer to its newest one. */
  closing: boolean;
}

/** Every open connection and every request that waits for its answer. */
export interface Connections {
  open(): number;
  readonly unanswered: ReadonlySet<OpenExchange>;
  /** How many requests were answered since `drain`. */
  drained(): number;
  /** Takes in a new connection, in place of the oldest idle one where there are too many; false where none is idle. */
  track(socket: Socket): boolean;
  find(socket: Duplex): Connection | undefined;
  /** A new exchange, or undefined on a connection that takes no more. */
  begin(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): OpenExchange | undefined;
  /** Counts an exchange as answered; returns whether its connection ends with this answer. */
  settle(exchange: OpenExchange): boolean;
  /** From now on every connection ends with the answer to its newest request. */
  drain(): void;
}

/** Requests that one connection may have unanswered. */
const MAX_PIPELINED = 100;

export interface ConnectionLimits {
  readonly maxConnections: number;
  /** Longest time for an answer to be taken, in milliseconds. */
  readonly requestTimeoutMs: number;
}

export function createConnections({ maxConnections, requestTimeoutMs }: ConnectionLimits): Connections {
  const connections = new WeakMap<Duplex, Connection>();
  /** Those without an unanswered request, the longest idle first; silent ones and half-sent heads are among them. */
  const idle = new Set<Socket>();
  const unanswered = new Set<OpenExchange>();
  let open = 0;
  let draining = false;
  let drained = 0;

  return {
    open: () => open,
    unanswered,
    drained: () => drained,
    track(socket) {
      if (open >= maxConnections) {
        const [longestIdle] = idle;
        if (longestIdle === undefined) return false;
        idle.delete(longestIdle);
        longestIdle.destroy();
      }
      connections.set(socket, { latest: undefined, unanswered: 0, closing: false });
      open += 1;
      idle.add(socket);
      socket.once('close', () => {
        open -= 1;
        idle.delete(socket);
      });
      return true;
    },
    find: (socket) => connections.get(socket),
    begin(request, response, expectsContinue) {
      const connection = connections.get(request.socket);
      // What follows a refused request on its connection could be bytes of that request (RFC 9112 section 9.6).
      if (connection === undefined || connection.closing) return undefined;
      if (connection.unanswered >= MAX_PIPELINED) {
        request.socket.destroy();
        return undefined;
      }
      const exchange = createExchange(request, response, { expectsContinue, answerTimeoutMs: requestTimeoutMs });
      idle.delete(request.socket);
      connection.latest = exchange;
      connection.unanswered += 1;
      unanswered.add(exchange);
      return exchange;
    },
    settle(exchange) {
      unanswered.delete(exchange);
      if (draining) drained += 1;
      const connection = connections.get(exchange.request.socket);
      if (connection === undefined) return true;
      connection.unanswered -= 1;
      if (connection.unanswered === 0 && !exchange.request.socket.destroyed) idle.add(exchange.request.socket);
      // Only the newest may end the connection: an older one would cut off the answers behind it.
      if (connection.latest !== exchange) return false;
      connection.closing ||= draining;
      return connection.closing;
    },
    drain() {
      draining = true;
    },
  };
}
