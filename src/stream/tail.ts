import { isFiltered } from '../storage/query.ts';
import { isWanted, type OpenStream } from './open-stream.ts';
import { type ReadEvents, type StoredEvent, type StoredEvents, toBuffer } from './stored-events.ts';

/** The streams that have come to the end of what is stored. They share one read of what comes next, whatever their number. */
export interface Tail {
  /** Whether a stream that has read all there was has come far enough to join. */
  isReachedBy(stream: OpenStream): boolean;
  join(stream: OpenStream): void;
  leave(stream: OpenStream): void;
  /** Something may have been stored. */
  wake(): void;
}

/** Messages read at once. */
const PART_MESSAGES = 200;
/** A reader for whom more than this would wait, what is new included, is too slow to be told as things happen. */
const MAX_BACKLOG_BYTES = 256 * 1024;

/** `beforeWriting` is called before the streams are written to. */
export function createTail(read: ReadEvents, beforeWriting: () => void): Tail {
  /** Each was written all that was stored up to `through`, at least. */
  const streams = new Set<OpenStream>();
  let through = 0n;
  let isReading = false;
  let isWoken = false;

  function wake(): void {
    isWoken = true;
    if (isReading || streams.size === 0) return;
    isReading = true;
    void follow().catch(() => streams.forEach((stream) => stream.end('storage_unavailable'))).finally(() => {
      isReading = false;
      // Who joined after a failure is owed a look.
      if (isWoken) wake();
    });
  }

  async function follow(): Promise<void> {
    while (isWoken && streams.size > 0) {
      isWoken = false;
      const after = through;
      const part = await read({ after: String(after), limit: PART_MESSAGES }, () => streams.size > 0);
      // Otherwise all have gone meanwhile, and whoever came then is somewhere else.
      if (part !== null && through === after) {
        beforeWriting();
        broadcast(part, streams, through);
        through = part.through;
        isWoken ||= !part.isAll;
      } else {
        isWoken = true;
      }
    }
  }

  return {
    isReachedBy: (stream) => streams.size === 0 || stream.through >= through,
    join(stream) {
      if (streams.size === 0) through = stream.through;
      streams.add(stream);
      wake();
    },
    leave: (stream) => void streams.delete(stream),
    wake,
  };
}

/** Writes new events to the streams at the end: each was written all up to `through`, at least. */
function broadcast({ events, through: end }: StoredEvents, streams: ReadonlySet<OpenStream>, through: bigint): void {
  // What is held is one copy for all streams, but for those that want more fields.
  const all = lazily(() => toBuffer(events, []));
  const each = events.map((event) => ({ ...event, bytes: lazily(() => toBuffer([event], [])) }));
  for (const stream of streams) {
    if (!stream.isOpen()) continue;
    const { fields } = stream;
    const wantsAll = stream.through <= through && !isFiltered(stream.filter);
    if (wantsAll && events.length > 0) writeInTime(stream, [fields.length === 0 ? all() : toBuffer(events, fields)], events.length);
    const wanted = wantsAll ? [] : each.filter((event) => isNew(event, stream));
    writeInTime(stream, wanted.map((event) => (fields.length === 0 ? event.bytes() : toBuffer([event], fields))), 1);
    if (stream.through < end) stream.through = end;
  }
}

function isNew({ sequence, message }: StoredEvent, { through, filter }: OpenStream): boolean {
  return sequence > through && isWanted(message, filter);
}

/** Writes chunks of so many messages each, or ends the stream where it is too slow for them. */
function writeInTime(stream: OpenStream, chunks: readonly Buffer[], messagesEach: number): void {
  const waiting = stream.response.writableLength;
  const more = chunks.reduce((sum, { length }) => sum + length, 0);
  if (more > 0 && waiting > 0 && waiting + more > MAX_BACKLOG_BYTES) return stream.end('too_slow');
  for (const chunk of chunks) stream.write(chunk, messagesEach);
}

/** What is made at most once, and only where it is needed. */
function lazily<Value>(make: () => Value): () => Value {
  let made: Value | undefined;
  return () => made ??= make();
}
