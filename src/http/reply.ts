import { StorageUnavailable } from '../errors.ts';
import type { Fault } from '../message.ts';

/** An answer, before it is written to a socket. */
export interface Reply {
  readonly status: number;
  /** Header names and values beside those that every answer has. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** A client that got a 503 is asked to try again after this many seconds. */
const RETRY_AFTER_SECONDS = '1';

export function jsonReply(status: number, value: unknown, headers: Readonly<Record<string, string>> = {}): Reply {
  return { status, headers: { 'Content-Type': 'application/json', ...headers }, body: JSON.stringify(value) };
}

/** An error as `{"detail": …}`: a sentence for most, the list of faults for a 422. */
function errorReply(status: number, detail: string | readonly Fault[], headers: Readonly<Record<string, string>> = {}): Reply {
  return jsonReply(status, { detail }, headers);
}

export const OK = jsonReply(200, { status: 'ok' });
export const NOT_FOUND = errorReply(404, 'Not Found');
export const UNSUPPORTED_ENCODING = errorReply(415, 'Content-Encoding must be absent or identity');
export const INVALID_SIGNATURE = errorReply(401, 'invalid signature');
export const REQUEST_INCOMPLETE = errorReply(408, 'the request did not arrive whole, in time');
export const HEADERS_TOO_LARGE = errorReply(431, 'the request head is too large');
export const EXPECTATION_FAILED = errorReply(417, 'Expect must be absent or 100-continue');
export const UNAVAILABLE = errorReply(503, 'temporarily unavailable, try again later', { 'Retry-After': RETRY_AFTER_SECONDS });
const INTERNAL_ERROR = errorReply(500, 'Internal Server Error');

export const badRequest = (problem: string) => errorReply(400, problem);
export const unprocessable = (faults: readonly Fault[]) => errorReply(422, faults);
export const payloadTooLarge = (maxBytes: number) => errorReply(413, `the body must have at most ${maxBytes} bytes`);
export const methodNotAllowed = (allow: string) => errorReply(405, 'Method Not Allowed', { Allow: allow });
export const notReady = (reasons: readonly string[]) =>
  jsonReply(503, { status: 'unavailable', reasons }, { 'Retry-After': RETRY_AFTER_SECONDS });

/** The one mapping from a thrown error to the outside. Anything unexpected is a 500 that says nothing of its cause. */
export function replyToError(error: unknown): Reply {
  return error instanceof StorageUnavailable ? UNAVAILABLE : INTERNAL_ERROR;
}
