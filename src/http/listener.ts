/**
 * The server socket: turns connections into exchanges, hands each to the router and writes its answer. Knows nothing of
 * webhooks. What node:http leaves open is closed here: unreadable requests, half-sent bodies, the end of the service.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { BodyAbort } from './body.ts';
import { createExchange, type OpenExchange } from './exchange.ts';
import { badRequest, EXPECTATION_FAILED, HEADERS_TOO_LARGE, replyToError, REQUEST_INCOMPLETE, type Reply } from './reply.ts';
import { readHead } from './request-head.ts';
import { type Router, UNMATCHED } from './router.ts';
import { serializeReply } from './wire.ts';

/** What is known of an answered request, for the log and the metrics. */
export interface Answered {
  readonly requestId: string;
  /** Null where the request could not be read. */
  readonly method: string | null;
  readonly route: string;
  readonly status: number;
  readonly latencyMs: number;
  readonly remoteAddress: string | null;
}

export interface ListenerOptions {
  readonly router: Router;
  readonly onAnswered: (answered: Answered) => void;
  readonly onConnectionRefused: () => void;
  /** A handler failed in a way that no one foresaw. */
  readonly onUnexpected: (requestId: string, error: unknown) => void;
}

export interface HttpListener {
  /** Resolves with the port once it is open; rejects with the error of node:net where it can't be. */
  listen(host: string, port: number): Promise<number>;
  openConnections(): number;
  /**
   * Answers what was fully received, refuses or closes the rest, and resolves when every connection is closed, after
   * `timeoutMs` milliseconds at the latest.
   */
  drain(timeoutMs: number): Promise<DrainReport>;
}

export interface DrainReport {
  /** Requests answered while draining. */
  readonly drained: number;
  /** Requests that got no answer before the deadline. */
  readonly unanswered: number;
}

const MAX_CONNECTIONS = 1000;
const HEAD_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;
const KEEP_ALIVE_TIMEOUT_MS = 75_000;
/** A socket without any traffic in the middle of an exchange, such as a client that reads nothing. */
const STALLED_SOCKET_MS = 30_000;
/** How often node:http looks for requests past their timeout. */
const TIMEOUT_CHECK_MS = 1000;
/** Time for requests that are already on their way when the service is told to stop. */
const DRAIN_GRACE_MS = 250;
/** Time for bodies that are half sent when the service is told to stop. */
const DRAIN_BODY_MS = 1000;
/** Time for a client to read why its unreadable request was refused. */
const LINGER_MS = 1000;

interface Connection {
  /** The newest request on it; node:http reads them one after the other. */
  latest: OpenExchange | undefined;
  /** Unanswered requests. */
  unanswered: number;
  /** Takes no more requests. */
  closing: boolean;
}

export function createListener(options: ListenerOptions): HttpListener {
  const connections = new WeakMap<Duplex, Connection>();
  const open = new Set<OpenExchange>();
  let draining = false;
  let answeredWhileDraining = 0;
  let connectionCount = 0;

  const server = createServer({
    headersTimeout: HEAD_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    connectionsCheckingInterval: TIMEOUT_CHECK_MS,
    // Both are judged in request-head.ts, so that the refusal has the headers that every answer has.
    requireHostHeader: false,
    insecureHTTPParser: false,
  });
  server.maxConnections = MAX_CONNECTIONS;
  // The head is bounded in bytes; a bound on the count would drop the rest without a word, a second signature among them.
  server.maxHeadersCount = 0;
  server.setTimeout(STALLED_SOCKET_MS);

  server.on('connection', (socket) => {
    connections.set(socket, { latest: undefined, unanswered: 0, closing: false });
    connectionCount += 1;
    socket.once('close', () => { connectionCount -= 1; });
  });
  server.on('drop', options.onConnectionRefused);
  server.on('request', (request, response) => accept(request, response, false));
  server.on('checkContinue', (request, response) => accept(request, response, true));
  server.on('checkExpectation', (request, response) => {
    const exchange = begin(request, response, true);
    if (exchange !== undefined) answer(exchange, UNMATCHED, EXPECTATION_FAILED);
  });
  server.on('clientError', refuseUnreadable);
  server.on('connect', (_request, socket) => answerRaw(socket, badRequest('CONNECT is not supported'), 'CONNECT'));

  function begin(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): OpenExchange | undefined {
    const connection = connections.get(request.socket);
    // What follows a refused request on its connection could be bytes of that request (RFC 9112 section 9.6).
    if (connection === undefined || connection.closing) return undefined;
    const exchange = createExchange(request, response, expectsContinue);
    connection.latest = exchange;
    connection.unanswered += 1;
    open.add(exchange);
    return exchange;
  }

  function accept(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void {
    const exchange = begin(request, response, expectsContinue);
    if (exchange === undefined) return;
    const head = readHead(request);
    if (!head.valid) {
      const connection = connections.get(request.socket);
      if (connection !== undefined) connection.closing = true;
      return answer(exchange, UNMATCHED, badRequest(head.problem));
    }
    const { route, handler } = options.router(request.method ?? '', head.target.path);
    const { requestId, readBody } = exchange;
    Promise.try(handler, { requestId, request, readBody, query: head.target.query }).then(
      (reply) => answer(exchange, route, reply),
      (error) => {
        const reply = replyToError(error);
        if (reply.status === 500) options.onUnexpected(requestId, error);
        answer(exchange, route, reply);
      },
    );
  }

  function answer(exchange: OpenExchange, route: string, reply: Reply): void {
    const { request, requestId, startedAt } = exchange;
    const connection = connections.get(request.socket);
    open.delete(exchange);
    if (draining) answeredWhileDraining += 1;
    if (connection !== undefined) connection.unanswered -= 1;
    // Only the newest may end the connection: an older one would cut off the answers behind it.
    const last = connection?.latest === exchange && (draining || connection.closing);
    exchange.send(reply, last);
    if (last && connection !== undefined) connection.closing = true;
    options.onAnswered({
      requestId,
      method: request.method ?? null,
      route,
      status: reply.status,
      latencyMs: performance.now() - startedAt,
      remoteAddress: request.socket.remoteAddress ?? null,
    });
  }

  /** A request that the parser gave up on, or that did not arrive in time. It gets one answer at most. */
  function refuseUnreadable(error: NodeJS.ErrnoException, socket: Duplex): void {
    const connection = connections.get(socket);
    if (connection === undefined || !socket.writable || error.code === 'ECONNRESET') {
      socket.destroy();
      return;
    }
    if (connection.closing) return;
    connection.closing = true;
    const { latest } = connection;
    if (latest?.isReading() === true) latest.abortBody(ABORT_BY_CODE.get(error.code) ?? 'malformed');
    else if (connection.unanswered > 0) return;
    else if (latest !== undefined && !latest.request.complete) socket.destroy();
    else answerRaw(socket, unreadableReply(error.code), null);
  }

  function answerRaw(socket: Duplex, reply: Reply, method: string | null): void {
    const requestId = randomUUID();
    const connection = connections.get(socket);
    if (connection !== undefined) connection.closing = true;
    socket.on('error', () => socket.destroy());
    socket.end(serializeReply(reply, requestId));
    setTimeout(() => socket.destroy(), LINGER_MS).unref();
    const remoteAddress = 'remoteAddress' in socket && typeof socket.remoteAddress === 'string' ? socket.remoteAddress : null;
    options.onAnswered({ requestId, method, route: UNMATCHED, status: reply.status, latencyMs: 0, remoteAddress });
  }

  return {
    listen: (host, port) => listen(server, host, port),
    openConnections: () => connectionCount,
    async drain(timeoutMs) {
      draining = true;
      const deadline = performance.now() + timeoutMs;
      const left = () => Math.max(0, deadline - performance.now());
      const until = async (done: () => boolean, atMostMs: number) => {
        const end = performance.now() + Math.min(atMostMs, left());
        while (!done() && performance.now() < end) await delay(10);
      };
      await until(() => connectionCount === 0, DRAIN_GRACE_MS);
      server.close();
      server.closeIdleConnections();
      await until(() => open.size === 0, DRAIN_BODY_MS);
      for (const exchange of open) exchange.abortBody('shutting down');
      await until(() => open.size === 0, left());
      const unanswered = open.size;
      await until(() => connectionCount === 0, unanswered === 0 ? DRAIN_GRACE_MS : 0);
      server.closeAllConnections();
      return { drained: answeredWhileDraining, unanswered };
    },
  };
}

function listen(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port }, () => {
      server.off('error', reject);
      const address: AddressInfo | string | null = server.address();
      resolve(typeof address === 'object' && address !== null ? address.port : port);
    });
  });
}

/** What a parser error says of a body that was being read. */
const ABORT_BY_CODE = new Map<string | undefined, BodyAbort>([
  ['ERR_HTTP_REQUEST_TIMEOUT', 'timed out'],
  ['HPE_INVALID_EOF_STATE', 'connection closed'],
]);

function unreadableReply(code: string | undefined): Reply {
  switch (code) {
    case 'ERR_HTTP_REQUEST_TIMEOUT': return REQUEST_INCOMPLETE;
    case 'HPE_HEADER_OVERFLOW': return HEADERS_TOO_LARGE;
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW': return badRequest('the chunk extensions are too large');
    default: return badRequest('the HTTP request is malformed');
  }
}
