import { get, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import { get as getSecurely } from 'node:https';
import type { SecureContextOptions } from 'node:tls';
import type { Scope } from './temporary.ts';
import { waitFor } from './wait.ts';

export interface ReceivedEvent {
  readonly id: string;
  readonly data: string;
}

/** A reader of server-sent events, as the WHATWG standard has them. */
export interface EventReader {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Events that have data. */
  readonly events: ReceivedEvent[];
  /** The last event id: that of the last dispatched block, one without data too. */
  lastEventId(): string;
  /** All that came, as text. */
  text(): string;
  /** Whether the other side has ended it. */
  isEnded(): boolean;
  /** The `message_id` of each event. */
  ids(): string[];
  /** Waits until that many events have come. */
  has(events: number): Promise<void>;
  close(): void;
}

/** Over http, or over https where `tls` says whom to trust. */
export async function readEvents(scope: Scope, url: string, headers: Record<string, string> = {}, tls: SecureContextOptions = {}): Promise<EventReader> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const request = (url.startsWith('https:') ? getSecurely : get)(url, { headers, agent: false, ...tls }, resolve).on('error', reject);
  scope.after(() => void request.destroy());
  const response = await promise;
  const events: ReceivedEvent[] = [];
  let ended = false;
  let text = '';
  let rest = '';
  let id = '';
  response.setEncoding('utf8').on('data', (chunk) => {
    text += String(chunk);
    const blocks = (rest + String(chunk)).split('\n\n');
    rest = blocks.pop() ?? '';
    for (const block of blocks) {
      const data: string[] = [];
      for (const line of block.split('\n')) {
        const [, name = '', value = ''] = /^([^:]*):? ?(.*)$/.exec(line) ?? [];
        if (name === 'id') id = value;
        if (name === 'data') data.push(value);
      }
      if (data.length > 0) events.push({ id, data: data.join('\n') });
    }
  }).on('close', () => { ended = true; }).on('error', () => {});
  const ids = () => events.map(({ data }) => String((JSON.parse(data) as { message_id: unknown }).message_id));
  return {
    status: response.statusCode ?? 0, headers: response.headers, events,
    lastEventId: () => id, text: () => text, isEnded: () => ended, ids,
    has: async (count) => void await waitFor(`${count} events`, () => events.length >= count),
    close: () => void request.destroy(),
  };
}
