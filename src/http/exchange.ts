import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Writable } from 'node:stream';
import { type BodyAbort, type BodyLimits, type BodyReader, type BodyResult, declaredLength, readBody } from './body.ts';
import { dropInput } from './linger.ts';
import type { Reply } from './reply.ts';
import { replyHeaders } from './wire.ts';

/** One request and its answer, as a handler sees it. */
export interface Exchange {
  /** Made here, never taken from the caller. */
  readonly requestId: string;
  readonly request: IncomingMessage;
  /** The query string as it came, without `?`. */
  readonly query: string;
  /** Kept from the start: a client that has gone has no address any more. */
  readonly remoteAddress: string | null;
  /** The raw body, within limits. Never rejects. */
  readBody(limits: BodyLimits): Promise<BodyResult>;
  /** Whether the one who asked would still be let in: for answers that go on for long. */
  mayStillRead(): boolean;
}

/** The same, as the listener sees it. */
export interface OpenExchange extends Omit<Exchange, 'query' | 'mayStillRead'> {
  readonly response: ServerResponse;
  /** Milliseconds on the monotonic clock. */
  readonly startedAt: number;
  /** Whether a handler waits for the body. */
  awaitsBody(): boolean;
  /** Ends a body that is being read; without effect where none is. */
  abortBody(why: BodyAbort): void;
  /** Whether more of the body may come than is worth skipping to keep the connection. */
  leavesBodyUnread(): boolean;
  /** Writes the answer; with `close`, the connection ends after it. */
  send(reply: Reply, close: boolean): void;
}

export interface ExchangeOptions {
  /** The client waits to be told before it sends its body. */
  readonly expectsContinue: boolean;
  /** Longest time for the client to take the answer, in milliseconds. */
  readonly answerTimeoutMs: number;
}

/** Longest unread body that is skipped to keep its connection. */
const SKIPPABLE_BODY_BYTES = 64 * 1024;

export function createExchange(
  request: IncomingMessage, response: ServerResponse, { expectsContinue, answerTimeoutMs }: ExchangeOptions,
): OpenExchange {
  const requestId = randomUUID();
  let body: BodyReader | undefined;
  let awaitsBody = false;

  return {
    requestId,
    request,
    response,
    startedAt: performance.now(),
    remoteAddress: request.socket.remoteAddress ?? null,
    awaitsBody: () => awaitsBody,
    abortBody: (why) => body?.abort(why),
    async readBody(limits) {
      body = readBody(request, limits);
      const refusedUnread = (declaredLength(request) ?? 0) > limits.maxBytes;
      if (expectsContinue && !refusedUnread) response.writeContinue();
      awaitsBody = true;
      const result = await body.result;
      awaitsBody = false;
      return result;
    },
    leavesBodyUnread() {
      if (request.complete) return false;
      // Whether the client sends a body that was never asked for is unknown: the two sides could disagree on where it ends.
      if (expectsContinue && body === undefined) return true;
      return (declaredLength(request) ?? Infinity) > SKIPPABLE_BODY_BYTES;
    },
    send(reply, close) {
      response.writeHead(reply.status, replyHeaders(reply, requestId, close));
      if (typeof reply.body !== 'string' && request.method !== 'HEAD') return writeOn(request, response, reply.body);
      const content = typeof reply.body !== 'string' || request.method === 'HEAD' ? '' : reply.body;
      response.end(content);
      if (response.writableLength > 0) limitAnswerTime(response, answerTimeoutMs);
    },
  };
}

/** Whoever writes an answer for long has to write something more often than this, in milliseconds. */
const MAX_SILENCE_MS = 60_000;

function writeOn(request: IncomingMessage, response: ServerResponse, write: (response: Writable) => void): void {
  response.flushHeaders();
  response.setTimeout(MAX_SILENCE_MS);
  // A client that has gone closes its side first; one that only ends its side could not be told from it.
  const gone = () => response.destroy();
  if (request.socket.readableEnded) gone();
  else request.socket.once('end', gone);
  // No request behind it will ever be begun, and unread ones would hide that end.
  dropInput(request.socket);
  response.once('close', () => request.socket.off('end', gone));
  write(response);
}

/** A client that takes its answer byte by byte would hold the rest of it in memory for as long as it likes. */
function limitAnswerTime(response: ServerResponse, timeoutMs: number): void {
  const timer = setTimeout(() => response.destroy(), timeoutMs);
  timer.unref();
  response.once('close', () => clearTimeout(timer));
}
