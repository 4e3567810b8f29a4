/** The live stream, read with fetch, as an EventSource cannot send a token. */
import { Refused, request } from './api.js';

/**
 * @typedef {object} Message
 * @property {string} message_id
 * @property {string} from
 * @property {string} to
 * @property {string} ts
 * @property {string | null} text
 *
 * @typedef {object} Listener
 * @property {(messages: Message[]) => void} onMessages
 * @property {(connected: boolean) => void} onConnected
 * @property {(error: Refused) => void} onRefused
 */

const RETRY_MS = 1000;
/** What came in this time is shown together. */
const GATHER_MS = 200;

/**
 * Follows the stream until `signal` is aborted, and comes again with its last position where it breaks.
 * @param {URLSearchParams} filter
 * @param {AbortSignal} signal
 * @param {Listener} listener
 */
export async function follow(filter, signal, { onMessages, onConnected, onRefused }) {
  let position = '';
  while (!signal.aborted) {
    try {
      const headers = position === '' ? undefined : { 'Last-Event-ID': position };
      const response = await request(`messages/stream?${filter}`, { signal, ...(headers && { headers }) });
      onConnected(true);
      await readEvents(response, (id, messages) => {
        position = id;
        if (messages.length > 0 && !signal.aborted) onMessages(messages);
      });
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Refused && error.status === 410) position = '';
      else if (error instanceof Refused && error.status < 500) return onRefused(error);
    }
    if (!signal.aborted) onConnected(false);
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

/**
 * @param {Response} response
 * @param {(position: string, messages: Message[]) => void} onPart
 */
async function readEvents(response, onPart) {
  if (response.body === null) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  let position = '';
  /** @type {Message[]} */
  let gathered = [];
  /** @type {number | undefined} */
  let timer;
  const handOn = () => {
    timer = undefined;
    onPart(position, gathered);
    gathered = [];
  };
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    const blocks = (rest + part.value).split('\n\n');
    rest = blocks.pop() ?? '';
    for (const line of blocks.flatMap((block) => block.split('\n'))) {
      if (line.startsWith('id: ')) position = line.slice('id: '.length);
      if (line.startsWith('data: ')) gathered.push(JSON.parse(line.slice('data: '.length)));
    }
    timer ??= setTimeout(handOn, GATHER_MS);
  }
  clearTimeout(timer);
  handOn();
}
