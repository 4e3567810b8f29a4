/**
 * The live stream, read with fetch, as an EventSource cannot send a token. A browser has six connections to a server of HTTP/1.1 for
 * all of its tabs, so one of those that are visible reads the stream and tells the others; while none is visible, none does.
 */
import { Refused, request, tokenOfTab } from './api.js';

/**
 * @typedef {object} Message
 * @property {string} message_id
 * @property {string} from
 * @property {string} to
 * @property {string} ts
 * @property {string | null} text
 * @property {string | null} [received_at]
 * @property {number | string} [sequence]
 *
 * @typedef {'connecting' | 'live' | 'lost'} State
 *
 * @typedef {{ state: 'connecting' | 'lost' }} Silence
 * @typedef {{ state: 'live', after: string, position: string, messages: Message[] }} Part What came between two positions.
 *
 * @typedef {object} Listener
 * @property {(state: State) => void} onState
 * @property {(messages: Message[]) => void} onMessages All that is stored, whatever the filters.
 * @property {() => void} onMissed Something may have been stored that `onMessages` does not get: what is shown has to be asked for again.
 * @property {(error: Refused) => void} onRefused It wants another token, and is not followed any more.
 */

/** What the page wants of a message beyond its content. */
export const FIELDS = 'received_at,sequence';
const RETRY_MS = 1000;
/** Where it is refused, which does not pass by itself. */
const RETRY_REFUSED_MS = 15_000;
/** What came in this time is shown together. */
const GATHER_MS = 200;
/** Of a tab that does not know how the stream is, to the one that reads it. */
const QUESTION = 'how is it?';

/**
 * Follows the stream until `signal` is aborted, together with all tabs that have the same token. Whichever reads it goes on where it has
 * come to itself; a tab for which that leaves a gap learns that it has missed something.
 * @param {AbortSignal} signal
 * @param {Listener} listener
 */
export function follow(signal, { onState, onMessages, onMissed, onRefused }) {
  const name = `${new URL('messages/stream', document.baseURI).href} ${tokenOfTab() ?? ''}`;
  // Locks are to be had over HTTPS and on loopback alone; elsewhere each visible tab reads for itself.
  const channel = isSecureContext ? new BroadcastChannel(name) : null;
  let turn = new AbortController();
  let isReading = false;
  let position = '';
  /** @type {State} */
  let state = 'connecting';

  /** @param {Silence | Part} news */
  function take(news) {
    onState(state = news.state);
    if (news.state !== 'live') return;
    if (news.after === '' || news.after !== position) onMissed();
    position = news.position;
    if (news.messages.length > 0) onMessages(news.messages);
  }

  /** @param {Silence | Part} news */
  function tell(news) {
    channel?.postMessage(news);
    take(news);
  }

  function takeTurns() {
    turn.abort();
    isReading = false;
    if (document.hidden) return;
    turn = new AbortController();
    const { signal: mine } = turn;
    const readMine = () => {
      isReading = true;
      return read(mine, position, tell, onRefused);
    };
    take({ state: 'connecting' });
    channel?.postMessage(QUESTION);
    if (!isSecureContext) void readMine();
    // Rejects where the wait for a turn is ended.
    else navigator.locks.request(name, { signal: mine }, readMine).catch(() => {});
  }

  channel?.addEventListener('message', ({ data }) => {
    if (data !== QUESTION) take(data);
    else if (isReading) channel.postMessage(state === 'live' ? { state, after: position, position, messages: [] } : { state });
  });
  document.addEventListener('visibilitychange', takeTurns, { signal });
  signal.addEventListener('abort', () => {
    turn.abort();
    channel?.close();
  });
  takeTurns();
}

/**
 * Reads the stream from a position on until `signal` is aborted, and tells what comes of it.
 * @param {AbortSignal} signal
 * @param {string} begin Empty: from now on.
 * @param {(news: Silence | Part) => void} tell
 * @param {(error: Refused) => void} onRefused
 */
async function read(signal, begin, tell, onRefused) {
  let position = begin;
  tell({ state: 'connecting' });
  while (!signal.aborted) {
    let pauseMs = RETRY_MS;
    try {
      const headers = position === '' ? undefined : { 'Last-Event-ID': position };
      const response = await request(`messages/stream?fields=${FIELDS}`, { signal, ...(headers && { headers }) });
      await readEvents(response, (reached, messages) => {
        if (signal.aborted) return;
        tell({ state: 'live', after: position, position: reached, messages });
        position = reached;
      });
    } catch (error) {
      if (error instanceof Refused && error.status === 410) position = '';
      else if (error instanceof Refused && error.status === 401) onRefused(error);
      else if (error instanceof Refused && error.status < 500) pauseMs = RETRY_REFUSED_MS;
    }
    if (signal.aborted) return;
    tell({ state: 'lost' });
    await pause(pauseMs, signal);
  }
}

/**
 * Resolves after so many milliseconds, or when `signal` is aborted.
 * @param {number} ms
 * @param {AbortSignal} signal
 */
function pause(ms, signal) {
  return new Promise((resolve) => {
    const finish = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', finish);
      resolve(undefined);
    };
    const timer = setTimeout(finish, ms);
    signal.addEventListener('abort', finish);
  });
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
    if (position !== '') onPart(position, gathered);
    gathered = [];
  };
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      const blocks = (rest + part.value).split('\n\n');
      rest = blocks.pop() ?? '';
      for (const line of blocks.flatMap((block) => block.split('\n'))) {
        if (line.startsWith('id: ')) position = line.slice('id: '.length);
        if (line.startsWith('data: ')) gathered.push(JSON.parse(line.slice('data: '.length)));
      }
      timer ??= setTimeout(handOn, GATHER_MS);
    }
  } finally {
    clearTimeout(timer);
    if (timer !== undefined) handOn();
  }
}
