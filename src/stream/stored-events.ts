/** What is stored, read as events. A read that is refused is tried again: a stream outlives a bad moment of the storage. */
import { setTimeout as delay } from 'node:timers/promises';
import { StorageUnavailable } from '../errors.ts';
import type { Message } from '../message.ts';
import type { Log } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import { type Field, withFields } from '../query/fields.ts';
import { writeStreamPosition } from '../query/positions.ts';
import type { Storage, StoredMessages, StoredQuery } from '../storage/storage.ts';
import { messageEvent } from './event-stream.ts';

export interface StoredEvent {
  readonly sequence: bigint;
  readonly message: Message;
  /** The event for who wants these fields. */
  text(fields: readonly Field[]): string;
}

/** A part of what is stored: of at most PART_BYTES, or of one event. */
export interface StoredEvents {
  readonly events: readonly StoredEvent[];
  /** All up to here was looked at. */
  readonly through: bigint;
  /** Whether nothing was stored after that when it was read. */
  readonly isAll: boolean;
}

export interface StoredEventsOptions {
  readonly storage: Pick<Storage, 'stored' | 'generation'>;
  readonly log: Log;
  readonly metrics: Pick<Metrics, 'streamReadRefused'>;
}

/**
 * Reads the next part, for `client`. A read that is refused is tried again for as long as the part `isNeeded`: null where it no longer
 * is. Rejects where the storage is closed.
 */
export type ReadEvents = (query: StoredQuery, isNeeded: () => boolean, client?: string) => Promise<StoredEvents | null>;

/** JSON writes some characters sixfold, so that a part of messages can be several of events. The rest of it is read again. */
const PART_BYTES = 128 * 1024;
const FIRST_RETRY_MS = 100;
const LONGEST_RETRY_MS = 5000;

export function createReadEvents({ storage, log, metrics }: StoredEventsOptions): ReadEvents {
  /** Reads that wait to be tried again. */
  let refusedReads = 0;

  function noteRefusal(error: unknown, isFirst: boolean): void {
    if (!(error instanceof StorageUnavailable) || error.reason === 'the storage is closed') throw error;
    metrics.streamReadRefused();
    if (!isFirst) return;
    refusedReads += 1;
    if (refusedReads === 1) log('WARNING', 'read_refused', { path: '/messages/stream', reason: error.reason });
  }

  /** Of a read that was refused: it has succeeded, or nobody needs it any more. */
  function noteEnd(): void {
    refusedReads -= 1;
    if (refusedReads === 0) log('INFO', 'stream_reads_resumed');
  }

  return async (query, isNeeded, client) => {
    let part: StoredMessages | null = null;
    let retryMs = 0;
    try {
      while (part === null && isNeeded()) {
        try {
          part = await storage.stored(query, client);
        } catch (error) {
          noteRefusal(error, retryMs === 0);
          retryMs = Math.min(retryMs * 2 || FIRST_RETRY_MS, LONGEST_RETRY_MS);
          await delay(retryMs, undefined, { ref: false });
        }
      }
    } finally {
      if (retryMs > 0) noteEnd();
    }
    return part === null ? null : toEvents(part, storage.generation);
  };
}

function toEvents({ items, through, isAll }: StoredMessages, generation: string): StoredEvents {
  const events: StoredEvent[] = [];
  let bytes = 0;
  for (const { message, ...receipt } of items) {
    const position = writeStreamPosition({ generation, sequence: receipt.sequence });
    const plain = messageEvent(message, position);
    bytes += Buffer.byteLength(plain);
    const last = events.at(-1);
    if (last !== undefined && bytes > PART_BYTES) return { events, through: last.sequence, isAll: false };
    events.push({
      sequence: BigInt(receipt.sequence), message,
      text: (fields) => (fields.length === 0 ? plain : messageEvent(withFields(message, receipt, fields), position)),
    });
  }
  return { events, through: BigInt(through), isAll };
}

/** Events in memory of their own: in that of the pool, one that a slow reader does not take would keep what else is in it. */
export function toBuffer(events: readonly StoredEvent[], fields: readonly Field[]): Buffer {
  const text = events.map((event) => event.text(fields)).join('');
  const buffer = Buffer.allocUnsafeSlow(Buffer.byteLength(text));
  buffer.write(text);
  return buffer;
}
