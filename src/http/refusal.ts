/** Refuses what no handler may see: bytes that node:http cannot read, heads and bodies that come too late, CONNECT. */
import { randomUUID } from 'node:crypto';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { RequestRefusal } from '../observe/metrics.ts';
import type { Answered } from './answered.ts';
import type { BodyAbort } from './body.ts';
import type { Connections } from './connections.ts';
import { badRequest, HEADERS_TOO_LARGE, REQUEST_INCOMPLETE, type WholeReply } from './reply.ts';
import { UNMATCHED } from './router.ts';
import { serializeReply } from './wire.ts';

const TIMEOUT = 'ERR_HTTP_REQUEST_TIMEOUT';
/** Bytes behind a request with `Connection: close`, which are no request (RFC 9112 section 9.6). */
const CLOSED = 'HPE_CLOSED_CONNECTION';

/** What a parser error says of a request; where it is in none of these, that is malformed. */
const REFUSAL_BY_CODE = new Map<string | undefined, RequestRefusal>([
  [TIMEOUT, 'timed_out'],
  ['HPE_INVALID_EOF_STATE', 'incomplete'],
  ['HPE_HEADER_OVERFLOW', 'head_too_large'],
  ['HPE_INVALID_VERSION', 'unsupported_version'],
  ['HPE_PAUSED_H2_UPGRADE', 'unsupported_version'],
  ['HPE_INVALID_TRANSFER_ENCODING', 'invalid_transfer_encoding'],
]);

/** What it says of a body that was being read. */
const ABORT_BY_CODE = new Map<string | undefined, BodyAbort>([
  [TIMEOUT, 'timed out'],
  ['HPE_INVALID_EOF_STATE', 'connection closed'],
]);

export interface Refusal {
  /** For the event 'clientError': the parser gave up on a request, or it did not arrive in time. */
  unreadable(error: NodeJS.ErrnoException, socket: Duplex): void;
  /** For the event 'connect': this is no proxy. */
  connect(socket: Socket): void;
}

interface Refused {
  readonly refusal: RequestRefusal;
  readonly reply: WholeReply;
  /** Null where it is not known. */
  readonly method: string | null;
}

/** A refused request gets one answer at most, and never in the place of the answer to an earlier request. */
export function createRefusal(connections: Connections, onAnswered: (answered: Answered) => void): Refusal {
  function refuse(socket: Socket, refused: Refused, bodyAbort: BodyAbort): void {
    const latest = connections.refuseMore(socket);
    if (latest === undefined) return;
    const bodyIncomplete = latest !== null && !latest.request.complete;
    if (bodyIncomplete && latest.awaitsBody()) return latest.abortBody(bodyAbort);
    const isAnswering = latest !== null && !latest.response.writableFinished;
    if (isAnswering) latest.response.once('close', () => socket.destroySoon());
    // What is wrong with a body that nobody reads is no request of its own.
    if (!bodyIncomplete) report(socket, refused, isAnswering);
    if (!isAnswering) socket.destroySoon();
  }

  /** With an answer, unless that would come in the place of another. */
  function report(socket: Socket, { refusal, reply, method }: Refused, isAnswering: boolean): void {
    const requestId = randomUUID();
    const remoteAddress = socket.remoteAddress ?? null;
    if (!isAnswering) socket.write(serializeReply(reply, requestId));
    const status = isAnswering ? null : reply.status;
    onAnswered({ requestId, method, route: UNMATCHED, status, refusal, latencyMs: null, remoteAddress });
  }

  return {
    unreadable(error, socket) {
      if (!(socket instanceof Socket) || error.code === 'ECONNRESET') return void socket.destroy();
      const neverSpoke = error.code === TIMEOUT && socket.bytesRead === 0;
      if (neverSpoke) return void socket.destroy();
      // Once this side has ended, its end is on its way.
      if (!socket.writable || error.code === CLOSED) return;
      const refusal = REFUSAL_BY_CODE.get(error.code) ?? 'malformed';
      refuse(socket, { refusal, reply: replyTo(refusal), method: null }, ABORT_BY_CODE.get(error.code) ?? 'malformed');
    },
    connect(socket) {
      refuse(socket, { refusal: 'connect', reply: badRequest('CONNECT is not supported'), method: 'CONNECT' }, 'malformed');
    },
  };
}

function replyTo(refusal: RequestRefusal): WholeReply {
  switch (refusal) {
    case 'timed_out': return REQUEST_INCOMPLETE;
    case 'head_too_large': return HEADERS_TOO_LARGE;
    default: return badRequest('the HTTP request is malformed');
  }
}
