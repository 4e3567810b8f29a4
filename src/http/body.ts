import type { IncomingMessage } from 'node:http';
import type { ByteBudget, Share } from './byte-budget.ts';

/** Why a body did not arrive whole. */
export type BodyAbort = 'timed out' | 'malformed' | 'connection closed' | 'shutting down' | 'no room';

export type BodyResult =
  | { readonly kind: 'whole'; readonly bytes: Buffer }
  | { readonly kind: 'too large' }
  | { readonly kind: 'aborted'; readonly why: BodyAbort };

/** A body being read. */
export interface BodyReader {
  readonly result: Promise<BodyResult>;
  /** Ends the reading before the body is whole; without effect afterwards. */
  abort(why: BodyAbort): void;
}

/** The Content-Length in bytes, or undefined where there is none. node:http has refused any that is not one decimal number. */
export function declaredLength(request: IncomingMessage): number | undefined {
  const value = request.headers['content-length'];
  return value === undefined ? undefined : Number(value);
}

/** What a body may be, and what all of them may hold at the same time. */
export interface BodyLimits {
  readonly maxBytes: number;
  readonly budget: ByteBudget;
}

/** Room for the first bytes of a body that does not come in one piece. */
const FIRST_BUFFER_BYTES = 4096;
/** A body may come in as many pieces as its limit has of these, and in this many at least; a sender of fewer bytes a chunk only costs. */
const LEAST_BYTES_PER_PIECE = 16;
const ALWAYS_ALLOWED_PIECES = 1024;

/**
 * Collects the raw body, at most `maxBytes` bytes of it: a longer one is refused by its declared length or at the chunk that
 * crosses the limit, whichever is first, and never held. Its bytes are copied into one buffer, as thousands of one-byte
 * chunks would each hold an object many times their size. The buffer grows with what came, whatever was declared, and so does
 * its share of the budget; a body in one piece needs none. The promise always resolves.
 */
export function readBody(request: IncomingMessage, { maxBytes, budget }: BodyLimits): BodyReader {
  const { promise, resolve } = Promise.withResolvers<BodyResult>();
  const declared = declaredLength(request);
  const mostPieces = ALWAYS_ALLOWED_PIECES + maxBytes / LEAST_BYTES_PER_PIECE;
  let buffer = Buffer.alloc(0);
  let received = 0;
  let pieces = 0;
  let share: Share | undefined;

  const settle = (result: BodyResult) => {
    request.off('data', onData).off('end', onEnd).off('close', onClose);
    share?.end();
    resolve(result);
  };
  const growTo = (end: number) => {
    const larger = grow(buffer, Math.min(maxBytes, Math.max(end, Math.min(2 * end, declared ?? Infinity), FIRST_BUFFER_BYTES)));
    share ??= budget.open(() => settle({ kind: 'aborted', why: 'no room' }));
    share.change(larger.length - buffer.length);
    buffer = larger;
  };
  const onData = (chunk: Buffer<ArrayBuffer>) => {
    const end = received + chunk.length;
    pieces += 1;
    if (end > maxBytes) return settle({ kind: 'too large' });
    if (pieces > mostPieces) return settle({ kind: 'aborted', why: 'malformed' });
    if (chunk.length === declared) {
      buffer = chunk;
    } else {
      if (end > buffer.length) growTo(end);
      chunk.copy(buffer, received);
    }
    received = end;
  };
  const onEnd = () => settle({ kind: 'whole', bytes: buffer.subarray(0, received) });
  const onClose = () => settle({ kind: 'aborted', why: 'connection closed' });

  if ((declared ?? 0) > maxBytes) resolve({ kind: 'too large' });
  else request.on('data', onData).on('end', onEnd).on('close', onClose);
  return { result: promise, abort: (why) => settle({ kind: 'aborted', why }) };
}

function grow(buffer: Buffer<ArrayBuffer>, bytes: number): Buffer<ArrayBuffer> {
  const larger = Buffer.allocUnsafeSlow(bytes);
  buffer.copy(larger);
  return larger;
}
