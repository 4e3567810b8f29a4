import type { Sequence, Storage, StoredMessages } from '../storage/storage.ts';
import { isWanted, type OpenStream } from './open-stream.ts';

/** The streams that have come to the end of what is stored. They share one read of what comes next, whatever their number. */
export interface Tail {
  /** Whether a stream that has read all there was has come far enough to join. */
  isReachedBy(stream: OpenStream): boolean;
  join(stream: OpenStream): void;
  leave(stream: OpenStream): void;
  /** Something may have been stored. */
  wake(): void;
}

export type StoredItem = StoredMessages['items'][number];

/** Messages read at once, and so written to each stream at once. */
const PART_MESSAGES = 200;
/** More than this not yet taken when there is more to write: that reader is too slow to be told as things happen. */
const MAX_BACKLOG_BYTES = 256 * 1024;

export function createTail(storage: Pick<Storage, 'stored'>, eventOf: (item: StoredItem) => string): Tail {
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
      const part = await storage.stored({ after: String(after), limit: PART_MESSAGES });
      // Otherwise all have gone meanwhile, and whoever came then is somewhere else.
      if (through === after) broadcast(part, streams);
      if (through === after) through = BigInt(part.through);
      else isWoken = true;
      isWoken ||= !part.isAll;
    }
  }

  function broadcast({ items, through: end }: StoredMessages, to: Iterable<OpenStream>): void {
    const events = items.map((item) => ({ ...item, bytes: Buffer.from(eventOf(item)) }));
    const all = Buffer.concat(events.map(({ bytes }) => bytes));
    for (const stream of to) {
      if (items.length > 0 && stream.response.writableLength > MAX_BACKLOG_BYTES) {
        stream.end('too_slow');
      } else if (stream.isOpen()) {
        writeNew(stream, events, all, through);
        stream.through = larger(stream.through, end);
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

/** Writes of the events after `after` those that are new to a stream; `all` are all of them. What is held is one copy for all streams. */
function writeNew(stream: OpenStream, events: readonly (StoredItem & { readonly bytes: Buffer })[], all: Buffer, after: bigint): void {
  const { filter } = stream;
  if (stream.through <= after && filter.from === undefined && filter.q === undefined) {
    if (events.length > 0) stream.write(all, events.length);
    return;
  }
  const wanted = events.filter(({ sequence, message }) => BigInt(sequence) > stream.through && isWanted(message, filter));
  for (const { bytes } of wanted) stream.write(bytes, 1);
}

function larger(a: bigint, b: Sequence): bigint {
  const other = BigInt(b);
  return a > other ? a : other;
}
