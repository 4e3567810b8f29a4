import type { IncomingMessage } from 'node:http';

/** Why a body did not arrive whole. */
export type BodyAbort = 'timed out' | 'malformed' | 'connection closed' | 'shutting down';

export type BodyReading =
  | { readonly kind: 'whole'; readonly bytes: Buffer }
  | { readonly kind: 'too large' }
  | { readonly kind: 'aborted'; readonly why: BodyAbort };

/** A body being read. */
export interface BodyReader {
  readonly reading: Promise<BodyReading>;
  /** Ends the reading before the body is whole; without effect afterwards. */
  abort(why: BodyAbort): void;
}

/** The Content-Length in bytes, or undefined where there is none. node:http has refused any that is not one decimal number. */
export function declaredLength(request: IncomingMessage): number | undefined {
  const value = request.headers['content-length'];
  return value === undefined ? undefined : Number(value);
}

/**
 * Collects the raw body, at most `maxBytes` bytes of it: a longer one is refused by its declared length or at the chunk that
 * crosses the limit, whichever is first, and never held. The promise always resolves.
 */
export function readBody(request: IncomingMessage, maxBytes: number): BodyReader {
  const { promise, resolve } = Promise.withResolvers<BodyReading>();
  const chunks: Buffer[] = [];
  let received = 0;

  const settle = (reading: BodyReading) => {
    request.off('data', onData).off('end', onEnd).off('close', onClose);
    resolve(reading);
  };
  const onData = (chunk: Buffer) => {
    received += chunk.length;
    if (received > maxBytes) return settle({ kind: 'too large' });
    chunks.push(chunk);
  };
  const onEnd = () => {
    const [first, ...more] = chunks;
    settle({ kind: 'whole', bytes: first !== undefined && more.length === 0 ? first : Buffer.concat(chunks, received) });
  };
  const onClose = () => settle({ kind: 'aborted', why: 'connection closed' });

  if ((declaredLength(request) ?? 0) > maxBytes) resolve({ kind: 'too large' });
  else request.on('data', onData).on('end', onEnd).on('close', onClose);
  return { reading: promise, abort: (why) => settle({ kind: 'aborted', why }) };
}

/** Bytes and time granted to a client that is still sending after it got its answer. */
const DISCARD_BYTES = 1024 * 1024;
const DISCARD_MS = 1000;

/**
 * Reads and drops what is left of a refused body, within bounds. Closing at once would reset the connection, and the
 * client might never see the answer that is on its way (RFC 9112 section 9.6).
 */
export function discardBody(request: IncomingMessage): Promise<void> {
  if (request.destroyed) return Promise.resolve();
  return new Promise((resolve) => {
    let discarded = 0;
    const finish = () => {
      clearTimeout(timer);
      request.off('data', count).off('end', finish).off('close', finish);
      resolve();
    };
    const count = (chunk: Buffer) => {
      discarded += chunk.length;
      if (discarded > DISCARD_BYTES) finish();
    };
    const timer = setTimeout(finish, DISCARD_MS);
    request.on('data', count).on('end', finish).on('close', finish).resume();
  });
}
