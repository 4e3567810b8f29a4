/**
 * Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html): how messages and positions are written. JSON
 * has no raw line end in it, so `data` is one line.
 */
import type { Message } from '../message.ts';

export const EVENT_STREAM_HEADERS = {
  'Content-Type': 'text/event-stream',
  // A proxy that gathers what it passes on would hold messages back (nginx).
  'X-Accel-Buffering': 'no',
};

/** How long a reader waits before it comes again, in milliseconds. */
const RETRY_MS = 1000;

/** Line ends to some (Python's splitlines), though neither to this format nor to JSON. */
const OTHER_LINE_ENDS = /[\u0085\u2028\u2029]/g;

/** The message of a position. */
export function messageEvent(message: Message, position: string): string {
  const data = JSON.stringify(message).replace(OTHER_LINE_ENDS, (end) => `\\u${end.charCodeAt(0).toString(16).padStart(4, '0')}`);
  return `id: ${position}\ndata: ${data}\n\n`;
}

/** Sets the position of a reader and shows it no event, as there is no data. */
const positionOnly = (position: string) => `id: ${position}\n\n`;

/** The beginning: where the reader is, before any message. */
export const streamStart = (position: string) => `retry: ${RETRY_MS}\n${positionOnly(position)}`;

/** Shows a reader that the connection stands, and how far it has come where no message matched. */
export const heartbeat = (position: string) => `: heartbeat\n${positionOnly(position)}`;
