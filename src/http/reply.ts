import type { Writable } from 'node:stream';
import { StorageUnavailable } from '../errors.ts';
import type { Fault } from '../message.ts';

/** An answer, before it is written to a socket. */
export interface Reply {
  readonly status: number;
  /** Header names and values beside those that every answer has. */
  readonly headers: Readonly<Record<string, string>>;
  /** The whole body, or what writes it for as long as it likes, to a response that closes when its client has gone; not called for HEAD. */
  readonly body: string | ((response: Writable) => void);
}

export interface WholeReply extends Reply {
  readonly body: string;
}

/** A client that got a 503 is asked to try again after one second. */
export const RETRY_AFTER = { 'Retry-After': '1' };

export function jsonReply(status: number, value: unknown, headers: Readonly<Record<string, string>> = {}): WholeReply {
  return { status, headers: { 'Content-Type': 'application/json', ...headers }, body: JSON.stringify(value) };
}

/** An error as `{"detail": …}`: a sentence for most, the list of faults for a 422. */
export function errorReply(status: number, detail: string | readonly Fault[], headers: Readonly<Record<string, string>> = {}): WholeReply {
  return jsonReply(status, { detail }, headers);
}

export const OK = jsonReply(200, { status: 'ok' });
export const NOT_FOUND = errorReply(404, 'Not Found');
export const REQUEST_INCOMPLETE = errorReply(408, 'the request did not arrive whole, in time');
export const HEADERS_TOO_LARGE = errorReply(431, 'the request head is too large');
export const EXPECTATION_FAILED = errorReply(417, 'Expect must be absent or 100-continue');
export const UNAVAILABLE = errorReply(503, 'temporarily unavailable, try again later', RETRY_AFTER);
const INTERNAL_ERROR = errorReply(500, 'Internal Server Error');

export const badRequest = (problem: string) => errorReply(400, problem);
export const gone = (problem: string) => errorReply(410, problem);
export const unprocessable = (faults: readonly Fault[]) => errorReply(422, faults);
export const methodNotAllowed = (allow: string) => errorReply(405, 'Method Not Allowed', { Allow: allow });

/** The one mapping from a thrown error to the outside. Anything unexpected is a 500 that says nothing of its cause. */
export function replyToError(error: unknown): Reply {
  return error instanceof StorageUnavailable ? errorReply(503, `${error.reason}; try again later`, RETRY_AFTER) : INTERNAL_ERROR;
}
