/** The readers of the live stream: how many there are, which of them are behind, and the end of each. */
import type { Writable } from 'node:stream';
import { writeStreamPosition } from '../query/positions.ts';
import type { Log } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { Sequence, Storage } from '../storage/storage.ts';
import { heartbeat, streamStart } from './event-stream.ts';
import { createOpenStream, drained, type OpenStream, type StreamReader } from './open-stream.ts';
import { createReadEvents, type ReadEvents, toBuffer } from './stored-events.ts';
import { createTail, type Tail } from './tail.ts';

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
  readonly log: Log;
  readonly metrics: Pick<Metrics, 'streamReadRefused'>;
}

const HEARTBEAT_MS = 15_000;
/** Messages read at once by a reader that is behind. */
const PART_MESSAGES = 50;
/** What may wait for all streams together. What waits for many at the end is in memory once, and is counted for each. */
const MAX_BACKLOG_OF_ALL_BYTES = 32 * 1024 * 1024;

export function createStreamHub({ storage, maxStreams, log, metrics }: StreamHubOptions): StreamHub {
  const streams = new Set<OpenStream>();
  let reserved = 0;
  let isClosed = false;

  const positionOf = (sequence: bigint | Sequence) => writeStreamPosition({ generation: storage.generation, sequence: String(sequence) });
  const read = createReadEvents({ storage, log, metrics });
  const relieve = () => endLargestBacklogs(streams);
  const tail = createTail(read, relieve);
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
      catchUp(stream, read, tail, relieve).catch(() => stream.end('storage_unavailable'));
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
async function catchUp(stream: OpenStream, read: ReadEvents, tail: Tail, beforeWriting: () => void): Promise<void> {
  while (stream.isOpen()) {
    const query = { ...stream.filter, after: String(stream.through), limit: PART_MESSAGES };
    const part = await read(query, stream.isOpen, stream.client);
    beforeWriting();
    if (part === null || !stream.isOpen()) return;
    if (part.events.length > 0) stream.write(toBuffer(part.events, stream.fields), part.events.length);
    stream.through = part.through;
    if (part.isAll && tail.isReachedBy(stream)) return tail.join(stream);
    if (stream.response.writableNeedDrain) await drained(stream.response);
  }
}

/** Where too much waits for all together, those for whom the most waits make room. */
function endLargestBacklogs(streams: ReadonlySet<OpenStream>): void {
  const backlogs = [...streams].filter((stream) => stream.isOpen()).map((stream) => ({ stream, bytes: stream.response.writableLength }));
  let waiting = backlogs.reduce((sum, { bytes }) => sum + bytes, 0);
  if (waiting <= MAX_BACKLOG_OF_ALL_BYTES) return;
  for (const { stream, bytes } of backlogs.toSorted((a, b) => b.bytes - a.bytes)) {
    if (waiting <= MAX_BACKLOG_OF_ALL_BYTES) return;
    stream.end('too_slow');
    waiting -= bytes;
  }
}
