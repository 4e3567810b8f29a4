/** A message as a row of the list: everything in one line, however long it is. */
import { addressOf } from './address.js';
import { make } from './dom.js';
import { makeSender } from './sender.js';
import { lengthOf, makeRelativeTime } from './time.js';

/** @typedef {import('./stream.js').Message} Message */

/** Received so long after its `ts`, a message is late. Less than this passes for the way and for clocks. */
const LATE_MS = 5 * 60_000;
/** Characters of a long text that are shown before what was searched for. */
const LEAD_CHARACTERS = 24;
/** Of a text, in the name of its link. */
const NAME_CHARACTERS = 100;

/**
 * @param {Message} message
 * @param {string} q What was searched for.
 * @param {boolean} isOutOfOrder Whether it stands above messages with a later `ts`.
 */
export function makeRow(message, q, isOutOfOrder) {
  const { message_id, from, to, ts, text } = message;
  const open = make('a', 'open', makeText(text, q));
  open.setAttribute('href', addressOf({ message: message_id }));
  open.setAttribute('aria-label', `Message from ${from}: ${nameOf(text)}`);
  const when = make('p', 'when', makeRelativeTime(ts), ...makeLateness(message, isOutOfOrder));
  const id = make('p', 'id', message_id);
  id.title = message_id;
  const row = make('li', '', when, make('p', 'numbers', makeSender(from), make('span', 'to', ` → ${to}`)), open, id);
  row.dataset['message'] = message_id;
  return row;
}

/** @param {string | null} text */
const nameOf = (text) => (text === null ? 'no text' : text === '' ? 'empty text' : text.slice(0, NAME_CHARACTERS));

/**
 * An empty text is told from none.
 * @param {string | null} text
 * @param {string} q
 */
export function makeText(text, q = '') {
  if (text === null) return make('span', 'text none', 'no text');
  if (text === '') return make('span', 'text none', 'empty text');
  const shown = make('span', 'text', ...highlighted(text, q));
  shown.dir = 'auto';
  return shown;
}

/**
 * What says that a message came late, where it did.
 * @param {Message} message
 * @param {boolean} [isOutOfOrder]
 */
export function makeLateness({ ts, received_at }, isOutOfOrder = false) {
  const lateMs = received_at === null || received_at === undefined ? NaN : Date.parse(received_at) - Date.parse(ts);
  const isLate = lateMs >= LATE_MS;
  if (!isLate && !isOutOfOrder) return [];
  const badge = make('span', 'badge', isLate ? `${lengthOf(lateMs)} late` : 'late');
  const order = isOutOfOrder ? ' By its ts it belongs further down, where a reload shows it.' : '';
  badge.title = `Received ${isLate ? `${lengthOf(lateMs)} after its ts.` : 'after messages with a later ts.'}${order}`;
  return [badge];
}

/** ASCII letters in either case, as the service searches. @param {string} mixed */
export const lower = (mixed) => mixed.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());

/**
 * The text with what was searched for marked, beginning shortly before that.
 * @param {string} text
 * @param {string} q
 * @returns {(string | Node)[]}
 */
function highlighted(text, q) {
  if (q === '') return [text];
  const [inText, wanted] = [lower(text), lower(q)];
  const parts = [];
  let end = beginOf(text, inText.indexOf(wanted));
  if (end > 0) parts.push('… ');
  for (let at = inText.indexOf(wanted); at !== -1; at = inText.indexOf(wanted, end)) {
    parts.push(text.slice(end, at), make('mark', '', text.slice(at, at + q.length)));
    end = at + q.length;
  }
  return [...parts, text.slice(end)];
}

/**
 * Where to begin so that `at` is in sight, never within a character.
 * @param {string} text
 * @param {number} at
 */
function beginOf(text, at) {
  if (at <= 2 * LEAD_CHARACTERS) return 0;
  const begin = at - LEAD_CHARACTERS;
  return /[\uDC00-\uDFFF]/.test(text.charAt(begin)) ? begin + 1 : begin;
}
