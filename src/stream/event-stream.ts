/**
 * Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html): how messages and positions are written. JSON
 * has no raw line end in it, so `data` is one line.
 */
import { escapeLineEnds } from '../line-ends.ts';

export const EVENT_STREAM_HEADERS = {
  'Content-Type': 'text/event-stream',
  // A proxy that gathers what it passes on would hold messages back (nginx).
  'X-Accel-Buffering': 'no',
};

/** How long a reader waits before it comes again, in milliseconds. */
const RETRY_MS = 1000;

/** The message of a position, with what else was asked for of it. */
export function messageEvent(message: object, position: string): string {
  return `id: ${position}\ndata: ${escapeLineEnds(JSON.stringify(message))}\n\n`;
}

/** Sets the position of a reader and shows it no event, as there is no data. */
const positionOnly = (position: string) => `id: ${position}\n\n`;

/** The beginning: where the reader is, before any message. */
export const streamStart = (position: string) => `retry: ${RETRY_MS}\n${positionOnly(position)}`;

/** Shows a reader that the connection stands, and how far it has come where no message matched. */
export const heartbeat = (position: string) => `: heartbeat\n${positionOnly(position)}`;
