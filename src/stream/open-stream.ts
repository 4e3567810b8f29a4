import type { Writable } from 'node:stream';
import { containsText, type Message } from '../message.ts';
import type { StreamEnd } from '../observe/metrics.ts';
import type { Field } from '../query/fields.ts';
import type { MessageFilter, Sequence } from '../storage/storage.ts';

/** Who reads a stream. */
export interface StreamReader {
  readonly filter: MessageFilter;
  readonly fields: readonly Field[];
  /** Whom its reads are for (`Storage`). */
  readonly client: string;
  /** What it has seen. */
  readonly after: Sequence;
  mayStillRead(): boolean;
  onEnded(end: StreamEnd, messages: number): void;
}

/** A stream that is being written. */
export interface OpenStream extends Pick<StreamReader, 'filter' | 'fields' | 'client' | 'mayStillRead'> {
  readonly response: Writable;
  /** False once either side has ended it: nothing may be written any more. */
  readonly isOpen: () => boolean;
  /** All up to here was written, as far as it matches. */
  through: bigint;
  /** Writes whole events that hold `messages` messages. */
  write(events: string | Buffer, messages: number): void;
  /** Ends it for this reason; without effect where it has ended. */
  end(why: StreamEnd): void;
}

/** Begins a stream on a response; `onClosed` is called once when it is over. */
export function createOpenStream(response: Writable, reader: StreamReader, onClosed: (stream: OpenStream) => void): OpenStream {
  let ended: StreamEnd | undefined;
  let written = 0;
  const stream: OpenStream = {
    response,
    filter: reader.filter,
    fields: reader.fields,
    client: reader.client,
    mayStillRead: reader.mayStillRead,
    isOpen: () => ended === undefined && !response.destroyed,
    through: BigInt(reader.after),
    write(events, messages) {
      written += messages;
      response.write(events);
    },
    end(why) {
      if (ended !== undefined) return;
      ended = why;
      // Whoever has not taken what came before would keep the end waiting.
      if (response.writableLength > 0) response.destroy();
      else response.end();
    },
  };
  response.once('close', () => {
    onClosed(stream);
    reader.onEnded(ended ??= 'client_gone', written);
  });
  // What is written to a client that has just gone is an error of the response, and would be one of the process.
  response.on('error', () => {});
  return stream;
}

/** Whether a message is one that the reader of a stream wants. */
export function isWanted({ message_id, from, text }: Message, filter: MessageFilter): boolean {
  return (filter.message_id ?? message_id) === message_id && (filter.from ?? from) === from &&
    (filter.q === undefined || (text !== null && containsText(text, filter.q)));
}

/** Resolves when a response takes more, or has closed. */
export function drained(response: Writable): Promise<void> {
  return new Promise((resolve) => {
    const finish = () => {
      response.off('drain', finish).off('close', finish);
      resolve();
    };
    response.on('drain', finish).on('close', finish);
  });
}
