/** Refuses what no handler may see: bytes that node:http cannot read, heads and bodies that come too late, CONNECT. */
import { randomUUID } from 'node:crypto';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Answered } from './answered.ts';
import type { BodyAbort } from './body.ts';
import type { Connections } from './connections.ts';
import { badRequest, HEADERS_TOO_LARGE, REQUEST_INCOMPLETE, type WholeReply } from './reply.ts';
import { UNMATCHED } from './router.ts';
import { serializeReply } from './wire.ts';

/** Time for a client to read why its request was refused, before its connection is cut. */
const LINGER_MS = 1000;

const TIMEOUT = 'ERR_HTTP_REQUEST_TIMEOUT';

/** What a parser error says of a body that was being read. */
const ABORT_BY_CODE = new Map<string | undefined, BodyAbort>([
  [TIMEOUT, 'timed out'],
  ['HPE_INVALID_EOF_STATE', 'connection closed'],
]);

export interface Refusal {
  /** For the event 'clientError': the parser gave up on a request, or it did not arrive in time. */
  unreadable(error: NodeJS.ErrnoException, socket: Duplex): void;
  /** For the event 'connect': this is no proxy. */
  connect(socket: Duplex): void;
}

/** A refused request gets one answer at most, and never in the place of the answer to an earlier request. */
export function createRefusal(connections: Connections, onAnswered: (answered: Answered) => void): Refusal {
  function refuse(socket: Socket, reply: WholeReply, method: string | null, bodyAbort: BodyAbort): void {
    const latest = connections.refuseMore(socket);
    if (latest === undefined) return;
    const bodyIncomplete = latest !== null && !latest.request.complete;
    if (bodyIncomplete && latest.awaitsBody()) latest.abortBody(bodyAbort);
    else if (latest !== null && !latest.response.writableFinished) latest.response.once('close', () => socket.destroy());
    else if (bodyIncomplete) socket.destroy();
    else answerRaw(socket, reply, method);
  }

  function answerRaw(socket: Socket, reply: WholeReply, method: string | null): void {
    const requestId = randomUUID();
    const remoteAddress = socket.remoteAddress ?? null;
    socket.on('error', () => socket.destroy()).once('end', () => socket.destroy());
    socket.end(serializeReply(reply, requestId));
    setTimeout(() => socket.destroy(), LINGER_MS).unref();
    onAnswered({ requestId, method, route: UNMATCHED, status: reply.status, latencyMs: null, remoteAddress });
  }

  return {
    unreadable(error, socket) {
      const neverSpoke = error.code === TIMEOUT && socket instanceof Socket && socket.bytesRead === 0;
      const isGone = !socket.writable || error.code === 'ECONNRESET';
      if (neverSpoke || isGone || !(socket instanceof Socket)) return void socket.destroy();
      refuse(socket, replyTo(error.code), null, ABORT_BY_CODE.get(error.code) ?? 'malformed');
    },
    connect(socket) {
      if (socket instanceof Socket) refuse(socket, badRequest('CONNECT is not supported'), 'CONNECT', 'malformed');
      else socket.destroy();
    },
  };
}

function replyTo(code: string | undefined): WholeReply {
  switch (code) {
    case TIMEOUT: return REQUEST_INCOMPLETE;
    case 'HPE_HEADER_OVERFLOW': return HEADERS_TOO_LARGE;
    default: return badRequest('the HTTP request is malformed');
  }
}
