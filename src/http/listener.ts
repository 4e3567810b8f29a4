/**
 * The server socket: hands each request to the router and writes its answer. Knows nothing of webhooks. What node:http
 * leaves open is closed here: its limits, requests it cannot read, the end of the service.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createSecureServer, type Server as SecureServer } from 'node:https';
import type { TlsCredentials } from '../config/tls-credentials.ts';
import type { RequestRefusal } from '../observe/metrics.ts';
import type { Answered } from './answered.ts';
import { createConnections, type Connections } from './connections.ts';
import { drain, type DrainReport } from './drain.ts';
import type { OpenExchange } from './exchange.ts';
import { createRefusal } from './refusal.ts';
import { EXPECTATION_FAILED, replyToError, type Reply } from './reply.ts';
import { readHead } from './request-head.ts';
import { type Router, UNMATCHED } from './router.ts';
import { secureContextOf } from './tls.ts';

/** What a client may take; times in milliseconds. `Config` has it. */
export interface Limits {
  readonly maxConnections: number;
  readonly headerTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly idleTimeoutMs: number;
}

export interface ListenerOptions {
  readonly limits: Limits;
  /** Null: plain HTTP. */
  readonly tls: TlsCredentials | null;
  readonly router: Router;
  readonly onAnswered: (answered: Answered) => void;
  readonly onConnectionRefused: () => void;
  readonly onHandshakeFailed: () => void;
  /** A handler threw; its request is answered as `replyToError` says. */
  readonly onFailed: (requestId: string, error: unknown) => void;
}

export interface HttpListener {
  /** Resolves with the port once it is open; rejects with the error of node:net where it can't be. */
  listen(host: string, port: number): Promise<number>;
  openConnections(): number;
  /** New connections get these; the open ones end with their next answer, as they rest on the old ones. No effect without TLS. */
  renewTls(tls: TlsCredentials): void;
  /**
   * Answers what was fully received, refuses or closes the rest, and resolves when every connection is closed, after
   * `timeoutMs` milliseconds at the latest.
   */
  drain(timeoutMs: number): Promise<DrainReport>;
}

/** How often node:http looks for requests past their timeout. */
const TIMEOUT_CHECK_MS = 500;
const STALLED_SOCKET_MARGIN_MS = 5000;

export function createListener(options: ListenerOptions): HttpListener {
  const connections = createConnections(options.limits);
  const { server, secureServer } = createLimitedServer(options);
  const answer = createAnswer(options, connections);
  const refusal = createRefusal(connections, options.onAnswered);
  const accept = createAccept(options, connections, answer);

  server.on('connection', (socket) => {
    if (connections.track(socket)) return;
    options.onConnectionRefused();
    socket.destroy();
  });
  secureServer?.on('secureConnection', connections.secure);
  secureServer?.on('tlsClientError', (_error, socket) => {
    options.onHandshakeFailed();
    socket.destroy();
  });
  const looking = setInterval(connections.closeIdle, TIMEOUT_CHECK_MS).unref();
  server.once('close', () => clearInterval(looking));
  server.on('request', (request, response) => accept(request, response, false));
  server.on('checkContinue', (request, response) => accept(request, response, true));
  server.on('checkExpectation', (request, response) => {
    const exchange = connections.begin(request, response, true);
    if (exchange !== undefined) answer(exchange, UNMATCHED, EXPECTATION_FAILED, 'unknown_expectation');
  });
  server.on('clientError', refusal.unreadable);
  server.on('connect', (request) => refusal.connect(request.socket));

  return {
    listen: (host, port) => listen(server, host, port),
    openConnections: connections.open,
    renewTls(tls) {
      secureServer?.setSecureContext(secureContextOf(tls));
      connections.endAfterNextAnswer();
    },
    drain: (timeoutMs) => drain(server, connections, timeoutMs),
  };
}

/** `secureServer` is the same server where it speaks TLS, else undefined. */
function createLimitedServer({ limits, tls }: ListenerOptions): { server: Server; secureServer: SecureServer | undefined } {
  const { headerTimeoutMs, requestTimeoutMs, idleTimeoutMs } = limits;
  const options = {
    headersTimeout: Math.min(headerTimeoutMs, requestTimeoutMs),
    requestTimeout: requestTimeoutMs,
    keepAliveTimeout: idleTimeoutMs,
    connectionsCheckingInterval: TIMEOUT_CHECK_MS,
    // Judged in request-head.ts, so that the refusal has the headers that every answer has.
    requireHostHeader: false,
  };
  const secureServer = tls === null ? undefined : createSecureServer({
    ...options,
    ...secureContextOf(tls),
    handshakeTimeout: headerTimeoutMs,
    allowHalfOpen: true,
    requestCert: tls.clientCa !== null,
    // Health is open to those without a certificate; the webhook looks at it.
    rejectUnauthorized: false,
  });
  const server: Server = secureServer ?? createServer(options);
  // The lines are counted in request-head.ts: this bound would drop the rest without a word, a second signature among them.
  server.maxHeadersCount = 0;
  // A socket without any traffic in the middle of an exchange; later than the timeout of a request, which gets an answer.
  server.setTimeout(requestTimeoutMs + STALLED_SOCKET_MARGIN_MS);
  // A client may end its side of the connection as soon as it has sent its request. Not in the types of node:http.
  Object.assign(server, { httpAllowHalfOpen: true });
  return { server, secureServer };
}

type Answer = (exchange: OpenExchange, route: string, reply: Reply, refusal?: RequestRefusal) => void;

function createAnswer({ onAnswered }: ListenerOptions, connections: Connections): Answer {
  return (exchange, route, reply, refusal) => {
    const { request, requestId, startedAt, remoteAddress } = exchange;
    const wholeBytes = typeof reply.body === 'string' ? Buffer.byteLength(reply.body) : null;
    const contentBytes = request.method === 'HEAD' ? 0 : wholeBytes;
    exchange.send(reply, connections.settle(exchange, contentBytes === null));
    connections.sent(exchange, contentBytes);
    onAnswered({
      requestId,
      method: request.method ?? null,
      route,
      status: reply.status,
      refusal: refusal ?? null,
      latencyMs: performance.now() - startedAt,
      remoteAddress,
    });
  };
}

function createAccept({ router, onFailed }: ListenerOptions, connections: Connections, answer: Answer) {
  return (request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void => {
    const exchange = connections.begin(request, response, expectsContinue);
    if (exchange === undefined) return;
    const head = readHead(request);
    if (!head.valid) {
      connections.refuseMore(request.socket);
      return answer(exchange, UNMATCHED, head.reply, head.refusal);
    }
    const { route, handler } = router(request.method ?? '', head.target.path);
    const { requestId, remoteAddress, readBody } = exchange;
    const { query } = head.target;
    connections.inTurn(exchange, () => {
      Promise.try(handler, { requestId, request, remoteAddress, readBody, query, mayStillRead: () => true }).then(
        (reply) => answer(exchange, route, reply),
        (error) => {
          onFailed(requestId, error);
          answer(exchange, route, replyToError(error));
        },
      );
    });
  };
}

function listen(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port }, () => {
      server.off('error', reject);
      const address = server.address();
      resolve(typeof address === 'object' && address !== null ? address.port : port);
    });
  });
}
