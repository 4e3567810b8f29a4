import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { createByteBudget } from './byte-budget.ts';
import { createExchange, type OpenExchange } from './exchange.ts';
import { lingerAtEnd } from './linger.ts';
import { clientOf } from './client.ts';
import { createTurns, type Turns } from './turns.ts';

export interface ConnectionLimits {
  readonly maxConnections: number;
  /** Longest time for an answer to be taken, in milliseconds. */
  readonly requestTimeoutMs: number;
  /** Longest time for a head to arrive, in milliseconds. */
  readonly headerTimeoutMs: number;
  /** Longest time for one to begin, in milliseconds. */
  readonly idleTimeoutMs: number;
}

/** Every open connection and every request whose answer is not yet on its way. The one place that decides which connections go on. */
export interface Connections {
  open(): number;
  /** Requests whose answer has not left this process. */
  pending(): OpenExchange[];
  /** How many requests were answered since `drain`. */
  drained(): number;
  /** Takes in a new connection, in place of another where there are too many; false where none makes room. */
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
  /** Closes the connections that have had all the time for another request: to node:http also one that sends blank lines is not idle. */
  closeIdle(): void;
  /** Closes every connection, whatever it is doing. */
  close(): void;
}

/** Requests that one connection may have pending; past it no more are read, and it ends with the answers that are due. */
const MAX_PIPELINED = 100;
/** Bytes of answers not yet taken, of all connections together; past it whoever leaves most unread for longest is closed. */
const UNREAD_ANSWERS_BYTES = 32 * 1024 * 1024;

/** node:http reads the requests of a connection one after the other, and writes their answers in the same order. */
interface Connection {
  /** What requests come on: the TLS socket after a handshake. */
  socket: Socket;
  /** See `clientOf`. */
  readonly client: string;
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

export function createConnections({ maxConnections, requestTimeoutMs, headerTimeoutMs, idleTimeoutMs }: ConnectionLimits): Connections {
  const { connections, add, secure } = createTable();
  let draining = false;
  let drained = 0;

  return {
    open: () => connections.size,
    pending: () => [...connections.values()].flatMap((connection) => connection.pending),
    drained: () => drained,
    track(socket) {
      if (connections.size >= maxConnections && !makeRoom(connections, clientOf({ socket }))) return false;
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
      // Behind such a request node:http drops what it has received, and would take what comes next for the beginning of another.
      connection.endsAfterNextAnswer ||= request.headers.upgrade !== undefined;
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
    closeIdle: () => closeIdleSince(connections, performance.now() - idleTimeoutMs - headerTimeoutMs),
    close: () => connections.forEach(({ socket }) => socket.destroy()),
  };
}

/** The open connections by the socket that requests come on. */
function createTable() {
  const connections = new Map<Duplex, Connection>();
  /** A TLS socket does not tell which connection it is made of; where that comes from does. */
  const byEnds = new Map<string, Connection>();
  const unreadAnswers = createByteBudget(UNREAD_ANSWERS_BYTES);

  return {
    connections,
    add(socket: Socket): void {
      const connection: Connection = {
        socket, client: clientOf({ socket }), latest: null, pending: [], turns: createTurns(socket, unreadAnswers),
        takesMore: true, endsAfterNextAnswer: false, idleSince: performance.now(),
      };
      const ends = endsOf(socket);
      lingerAtEnd(socket);
      connections.set(socket, connection);
      byEnds.set(ends, connection);
      // node:http takes its own listener away at a CONNECT, and a reset without one would end the process.
      socket.on('error', () => socket.destroy());
      // node:http closes the response that it is writing, and forgets those that wait behind it; so do they here.
      socket.once('close', () => {
        connections.delete(connection.socket);
        connection.turns.end();
        if (byEnds.get(ends) === connection) byEnds.delete(ends);
      });
    },
    secure(socket: TLSSocket): void {
      const connection = byEnds.get(endsOf(socket));
      if (connection === undefined) return void socket.destroy();
      lingerAtEnd(socket);
      connections.delete(connection.socket);
      connections.set(socket, connection);
      connection.socket = socket.on('error', () => socket.destroy());
      connection.turns.moveTo(socket);
    },
  };
}

const endsOf = ({ remoteAddress, remotePort, localAddress, localPort }: Socket) =>
  [remoteAddress, remotePort, localAddress, localPort].join(' ');

function endAfterLatest(connection: Connection): undefined {
  connection.takesMore = false;
  connection.turns.surplus();
  connection.latest?.response.once('close', () => connection.socket.destroySoon());
}

/**
 * Closes a connection of the client that has most of them: its longest idle one, else, where it has more than `newcomer` has, the one whose
 * request has lasted longest. False where there is none: then `newcomer` has most itself, and all of them are busy.
 */
function makeRoom(connections: Map<Duplex, Connection>, newcomer: string): boolean {
  const counts = new Map([[newcomer, 0]]);
  for (const { client } of connections.values()) counts.set(client, (counts.get(client) ?? 0) + 1);
  const most = Math.max(...counts.values());
  const hasMost = counts.get(newcomer) === most;
  let chosen: Connection | undefined;
  for (const connection of connections.values()) {
    const mayGo = hasMost ? connection.client === newcomer && isIdle(connection) : counts.get(connection.client) === most;
    if (mayGo && (chosen === undefined || goesBefore(connection, chosen))) chosen = connection;
  }
  if (chosen === undefined) return false;
  chosen.socket.destroy();
  return connections.delete(chosen.socket);
}

/** `time`: in milliseconds on the monotonic clock. */
function closeIdleSince(connections: Map<Duplex, Connection>, time: number): void {
  for (const connection of connections.values()) if (isIdle(connection) && connection.idleSince < time) connection.socket.destroy();
}

const isIdle = ({ pending }: Connection) => pending.length === 0;

/** The idle before the busy, and of either what has lasted longest. */
function goesBefore(one: Connection, other: Connection): boolean {
  if (isIdle(one) !== isIdle(other)) return isIdle(one);
  return (one.pending[0]?.startedAt ?? one.idleSince) < (other.pending[0]?.startedAt ?? other.idleSince);
}
