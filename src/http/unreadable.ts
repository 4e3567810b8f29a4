/** Requests that node:http has no request object for: unreadable bytes, heads that come too late, CONNECT. */
import { randomUUID } from 'node:crypto';
import type { Duplex } from 'node:stream';
import type { BodyAbort } from './body.ts';
import type { Connections } from './connections.ts';
import type { Answered } from './listener.ts';
import { badRequest, HEADERS_TOO_LARGE, REQUEST_INCOMPLETE, type Reply } from './reply.ts';
import { UNMATCHED } from './router.ts';
import { serializeReply } from './wire.ts';

/** Time for a client to read why its request was refused, before its connection is cut. */
const LINGER_MS = 1000;

type OnAnswered = (answered: Answered) => void;

/**
 * Decides what becomes of a request that the parser gave up on or that did not arrive in time. It gets one answer at
 * most, and never one in the middle of the answer to an earlier request.
 */
export function createRefuseUnreadable(connections: Connections, onAnswered: OnAnswered) {
  return (error: NodeJS.ErrnoException, socket: Duplex): void => {
    const connection = connections.find(socket);
    if (connection === undefined || !socket.writable || error.code === 'ECONNRESET') {
      socket.destroy();
      return;
    }
    if (connection.closing) return;
    connection.closing = true;
    const { latest } = connection;
    const bodyIncomplete = latest !== undefined && !latest.request.complete;
    if (bodyIncomplete && latest.isReading()) latest.abortBody(ABORT_BY_CODE.get(error.code) ?? 'malformed');
    else if (connection.unanswered > 0) return;
    else if (bodyIncomplete) socket.destroy();
    else answerRaw(socket, replyTo(error.code), null, onAnswered);
  };
}

/** Refuses CONNECT: this is no proxy. */
export function refuseConnect(socket: Duplex, onAnswered: OnAnswered): void {
  answerRaw(socket, badRequest('CONNECT is not supported'), 'CONNECT', onAnswered);
}

/** What a parser error says of a body that was being read. */
const ABORT_BY_CODE = new Map<string | undefined, BodyAbort>([
  ['ERR_HTTP_REQUEST_TIMEOUT', 'timed out'],
  ['HPE_INVALID_EOF_STATE', 'connection closed'],
]);

function replyTo(code: string | undefined): Reply {
  switch (code) {
    case 'ERR_HTTP_REQUEST_TIMEOUT': return REQUEST_INCOMPLETE;
    case 'HPE_HEADER_OVERFLOW': return HEADERS_TOO_LARGE;
    default: return badRequest('the HTTP request is malformed');
  }
}

function answerRaw(socket: Duplex, reply: Reply, method: string | null, onAnswered: OnAnswered): void {
  const requestId = randomUUID();
  socket.on('error', () => socket.destroy()).once('end', () => socket.destroy());
  socket.end(serializeReply(reply, requestId));
  setTimeout(() => socket.destroy(), LINGER_MS).unref();
  const remoteAddress = 'remoteAddress' in socket && typeof socket.remoteAddress === 'string' ? socket.remoteAddress : null;
  onAnswered({ requestId, method, route: UNMATCHED, status: reply.status, latencyMs: 0, remoteAddress });
}
