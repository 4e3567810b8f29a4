/** The readers of the live stream: how many there are, which of them are behind, and the end of each. */
import type { Writable } from 'node:stream';
import { writeStreamPosition } from '../query/stream-position.ts';
import type { Sequence, Storage } from '../storage/storage.ts';
import { heartbeat, messageEvent, streamStart } from './event-stream.ts';
import { createOpenStream, drained, type OpenStream, type StreamReader } from './open-stream.ts';
import { createTail, type StoredItem, type Tail } from './tail.ts';

export interface StreamHub {
  /** Takes one of the places, for `open`, which has to follow; false where none is free. */
  reserve(): boolean;
  /** Writes to a response until either side ends it. */
  open(response: Writable, reader: StreamReader): void;
  /** Readers now. */
  size(): number;
  /** Something may have been stored. */
  wake(): void;
  /** Ends the streams of those who would not be let in any more. */
  recheck(): void;
  /** Ends all streams, and takes no more. */
  close(): void;
}

export interface StreamHubOptions {
  readonly storage: Pick<Storage, 'stored' | 'generation'>;
  readonly maxStreams: number;
}

const HEARTBEAT_MS = 15_000;
/** Messages read at once by a reader that is behind: with the largest texts nearly a megabyte, held where it does not take it. */
const PART_MESSAGES = 50;

export function createStreamHub({ storage, maxStreams }: StreamHubOptions): StreamHub {
  const streams = new Set<OpenStream>();
  let reserved = 0;
  let isClosed = false;

  const positionOf = (sequence: bigint | Sequence) => writeStreamPosition({ generation: storage.generation, sequence: String(sequence) });
  const eventOf = ({ sequence, message }: StoredItem) => messageEvent(message, positionOf(sequence));
  const tail = createTail(storage, eventOf);
  const heartbeats = setInterval(() => {
    for (const stream of streams) {
      if (stream.isOpen() && !stream.response.writableNeedDrain) stream.write(heartbeat(positionOf(stream.through)), 0);
    }
  }, HEARTBEAT_MS).unref();

  return {
    reserve() {
      if (isClosed || streams.size + reserved >= maxStreams) return false;
      reserved += 1;
      return true;
    },
    open(response, reader) {
      reserved -= 1;
      if (isClosed || response.destroyed) return void response.destroy();
      const stream = createOpenStream(response, reader, (closed) => {
        streams.delete(closed);
        tail.leave(closed);
      });
      streams.add(stream);
      // The token may have been revoked while the answer was being made.
      if (!stream.mayStillRead()) return stream.end('no_longer_authorized');
      stream.write(streamStart(positionOf(reader.after)), 0);
      catchUp(stream, storage, tail, eventOf).catch(() => stream.end('storage_unavailable'));
    },
    size: () => streams.size,
    wake: tail.wake,
    recheck() {
      for (const stream of streams) if (!stream.mayStillRead()) stream.end('no_longer_authorized');
    },
    close() {
      isClosed = true;
      clearInterval(heartbeats);
      for (const stream of streams) stream.end('shutting_down');
    },
  };
}

/** Writes what is stored already, no faster than it is taken, until the stream joins those at the end. */
async function catchUp(
  stream: OpenStream, storage: Pick<Storage, 'stored'>, tail: Tail, eventOf: (item: StoredItem) => string,
): Promise<void> {
  while (stream.isOpen()) {
    const part = await storage.stored({ ...stream.filter, after: String(stream.through), limit: PART_MESSAGES });
    if (!stream.isOpen()) return;
    if (part.items.length > 0) stream.write(part.items.map(eventOf).join(''), part.items.length);
    stream.through = BigInt(part.through);
    if (part.isAll && tail.isReachedBy(stream)) return tail.join(stream);
    if (stream.response.writableNeedDrain) await drained(stream.response);
  }
}
