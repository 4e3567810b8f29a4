import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { createByteBudget } from './byte-budget.ts';
import { createExchange, type OpenExchange } from './exchange.ts';
import { createTurns, type Turns } from './turns.ts';

export interface ConnectionLimits {
  readonly maxConnections: number;
  /** Longest time for an answer to be taken, in milliseconds. */
  readonly requestTimeoutMs: number;
}

/** Every open connection and every request whose answer is not yet on its way. The one place that decides which connections go on. */
export interface Connections {
  open(): number;
  /** Requests whose answer has not left this process. */
  pending(): OpenExchange[];
  /** How many requests were answered since `drain`. */
  drained(): number;
  /** Takes in a new connection, in place of the longest idle one where there are too many; false where none is idle. */
  track(socket: Socket): boolean;
  /** Goes on with a connection that was taken in as the TLS socket that its handshake made of it. */
  secure(socket: TLSSocket): void;
  /** A new exchange, or undefined on a connection that takes no more requests. */
  begin(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): OpenExchange | undefined;
  /** Calls `start` as soon as the client has taken enough of the answers before this one. */
  inTurn(exchange: OpenExchange, start: () => void): void;
  /** The answer to an exchange was handed on, with so many bytes of content; null where it is being written for long. */
  sent(exchange: OpenExchange, contentBytes: number | null): void;
  /** Counts an exchange as answered; returns whether its connection ends with this answer. `isOpenEnded`: it is being written for long. */
  settle(exchange: OpenExchange, isOpenEnded: boolean): boolean;
  /**
   * Takes no more requests on a connection; it ends with the answer to its newest one. Returns that one, null where there
   * was none, or undefined where the connection takes no more already.
   */
  refuseMore(socket: Duplex): OpenExchange | null | undefined;
  /** Every connection that is open now ends with the next answer that is its newest. */
  endAfterNextAnswer(): void;
  /** From now on every connection ends with the answer to its newest request. */
  drain(): void;
}

/** Requests that one connection may have pending; past it no more are read, and it ends with the answers that are due. */
const MAX_PIPELINED = 100;
/** Bytes of answers not yet taken, of all connections together; past it whoever leaves most unread for longest is closed. */
const UNREAD_ANSWERS_BYTES = 32 * 1024 * 1024;

/** node:http reads the requests of a connection one after the other, and writes their answers in the same order. */
interface Connection {
  /** What requests come on: the TLS socket after a handshake. */
  socket: Socket;
  latest: OpenExchange | null;
  /**
   * In an array, not in a Set: V8 lets the outgrown table of a Set point to the next one, and so, until the next full
   * collection, everything that was ever in it. That made collections ten times as long.
   */
  readonly pending: OpenExchange[];
  readonly turns: Turns;
  takesMore: boolean;
  endsAfterNextAnswer: boolean;
  /** Milliseconds on the monotonic clock since when nothing is pending. Silent connections and half-sent heads are idle too. */
  idleSince: number;
}

export function createConnections({ maxConnections, requestTimeoutMs }: ConnectionLimits): Connections {
  const { connections, add, secure } = createTable();
  let draining = false;
  let drained = 0;

  return {
    open: () => connections.size,
    pending: () => [...connections.values()].flatMap((connection) => connection.pending),
    drained: () => drained,
    track(socket) {
      if (connections.size >= maxConnections && !evictLongestIdle(connections)) return false;
      add(socket);
      return true;
    },
    secure,
    begin(request, response, expectsContinue) {
      const connection = connections.get(request.socket);
      // What follows a refused request on its connection could be bytes of that request (RFC 9112 section 9.6).
      if (connection?.takesMore !== true) return void connection?.turns.surplus();
      // Where one is pending already, that is the one that it ends with.
      const isOver = connection.pending.length >= (connection.endsAfterNextAnswer ? 1 : MAX_PIPELINED);
      if (isOver) return endAfterLatest(connection);
      const exchange = createExchange(request, response, { expectsContinue, answerTimeoutMs: requestTimeoutMs });
      connection.latest = exchange;
      connection.pending.push(exchange);
      response.once('close', () => {
        connection.pending.splice(connection.pending.indexOf(exchange), 1);
        connection.idleSince = performance.now();
        connection.turns.left(exchange);
      });
      return exchange;
    },
    inTurn: (exchange, start) => connections.get(exchange.request.socket)?.turns.inTurn(exchange, start),
    sent: (exchange, contentBytes) => connections.get(exchange.request.socket)?.turns.answered(exchange, contentBytes),
    settle(exchange, isOpenEnded) {
      if (draining) drained += 1;
      const connection = connections.get(exchange.request.socket);
      // Only the newest may end the connection: an older one would cut off the answers behind it.
      if (connection?.latest !== exchange) return false;
      connection.takesMore &&= !draining && !isOpenEnded && !connection.endsAfterNextAnswer && !exchange.leavesBodyUnread();
      return !connection.takesMore;
    },
    refuseMore(socket) {
      const connection = connections.get(socket);
      if (connection?.takesMore !== true) return undefined;
      connection.takesMore = false;
      return connection.latest;
    },
    endAfterNextAnswer() {
      for (const connection of connections.values()) connection.endsAfterNextAnswer = true;
    },
    drain() { draining = true; },
  };
}

/** The open connections by the socket that requests come on. */
function createTable() {
  const connections = new Map<Duplex, Connection>();
  /** A TLS socket does not tell which connection it is made of; where that comes from does. */
  const byPeer = new Map<string, Connection>();
  const unreadAnswers = createByteBudget(UNREAD_ANSWERS_BYTES);

  return {
    connections,
    add(socket: Socket): void {
      const connection: Connection = {
        socket, latest: null, pending: [], turns: createTurns(socket, unreadAnswers),
        takesMore: true, endsAfterNextAnswer: false, idleSince: performance.now(),
      };
      const peer = peerOf(socket);
      connections.set(socket, connection);
      byPeer.set(peer, connection);
      // node:http takes its own listener away at a CONNECT, and a reset without one would end the process.
      socket.on('error', () => socket.destroy());
      // node:http closes the response that it is writing, and forgets those that wait behind it; so do they here.
      socket.once('close', () => {
        connections.delete(connection.socket);
        connection.turns.end();
        if (byPeer.get(peer) === connection) byPeer.delete(peer);
      });
    },
    secure(socket: TLSSocket): void {
      const connection = byPeer.get(peerOf(socket));
      if (connection === undefined) return void socket.destroy();
      connections.delete(connection.socket);
      connections.set(socket, connection);
      connection.socket = socket.on('error', () => socket.destroy());
      connection.turns.moveTo(socket);
    },
  };
}

const peerOf = ({ remoteAddress, remotePort }: Socket) => `${remoteAddress} ${remotePort}`;

function endAfterLatest(connection: Connection): undefined {
  connection.takesMore = false;
  connection.turns.surplus();
  connection.latest?.response.once('close', () => connection.socket.destroy());
}

/** Closes the longest idle connection; false where none is idle. */
function evictLongestIdle(connections: Map<Duplex, Connection>): boolean {
  let longestIdle: Connection | undefined;
  for (const connection of connections.values()) {
    if (connection.pending.length === 0 && connection.idleSince < (longestIdle?.idleSince ?? Infinity)) longestIdle = connection;
  }
  if (longestIdle === undefined) return false;
  longestIdle.socket.destroy();
  return connections.delete(longestIdle.socket);
}
