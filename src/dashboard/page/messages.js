/** The list: newest first, filtered, page by page, with what arrives on top. */
import { request } from './api.js';
import { element, grouped, make } from './dom.js';

/** @typedef {import('./stream.js').Message} Message */

const PAGE_MESSAGES = 25;
/** Of those that arrive on top of a page; older ones give way. */
const MOST_SHOWN = 200;

const list = element('list', HTMLElement);
const count = element('count', HTMLElement);
const empty = element('empty', HTMLElement);
const newer = element('newer', HTMLButtonElement);
const older = element('older', HTMLButtonElement);
const showNew = element('show-new', HTMLButtonElement);

/**
 * @typedef {object} Filter
 * @property {string} q
 * @property {string} from
 * @property {string} since An instant in UTC as `ts` has it, or empty.
 */

/** @param {Filter} filter */
export function createList(filter) {
  /** The query of each page up to this one: the way back. @type {string[]} */
  let pages = [firstPage(filter)];
  /** The query of the next one. @type {string | null} */
  let next = null;
  let total = 0;
  let isLoaded = false;
  let loads = 0;
  /** The number of the page that is shown. */
  let shownPage = 1;
  let unseen = 0;
  const shown = createShown(filter.q);
  /** What arrived while a page was on its way, and may not be on it. @type {Message[]} */
  let meanwhile = [];

  /** @param {AbortSignal} signal */
  async function load(signal) {
    const load = loads += 1;
    meanwhile = [];
    const response = await request(`messages?${pages.at(-1)}`, { signal });
    const page = await response.json();
    // Another page, or this one anew, was asked for meanwhile.
    if (load !== loads) return;
    isLoaded = true;
    shownPage = pages.length;
    next = /^<\?(.*)>; rel="next"$/.exec(response.headers.get('Link') ?? '')?.[1] ?? null;
    shown.replace(page.items);
    total = page.total;
    unseen = 0;
    arrive(meanwhile);
  }

  /** Takes in what has just been stored. @param {Message[]} messages */
  function arrive(messages) {
    const matching = messages.filter((message) => !shown.has(message.message_id) && isWanted(message, filter));
    meanwhile = [...meanwhile, ...matching].slice(-MOST_SHOWN);
    if (!isLoaded) return;
    total += matching.length;
    if (shownPage > 1) unseen += matching.length;
    else shown.addOnTop(matching.slice(-MOST_SHOWN));
    showState(total, shownPage, unseen, next !== null);
  }

  return {
    load,
    isEmpty: () => isLoaded && total === 0,
    /** Goes to a page; `load` then shows it. @param {'newest' | 'newer' | 'older'} where */
    turn(where) {
      if (where === 'older' && next !== null) pages.push(next);
      // Once more before that page has come would be the same page again.
      next = null;
      if (where === 'newer' && pages.length > 1) pages.pop();
      if (where === 'newest') pages = pages.slice(0, 1);
    },
    arrive,
  };
}

/**
 * What stands around the list.
 * @param {number} total
 * @param {number} page
 * @param {number} unseen
 * @param {boolean} hasOlder
 */
function showState(total, page, unseen, hasOlder) {
  count.textContent = `${grouped(total)} message${total === 1 ? '' : 's'}${page > 1 ? `, page ${grouped(page)}` : ''}`;
  newer.disabled = page === 1;
  older.disabled = !hasOlder;
  showNew.hidden = unseen === 0;
  showNew.textContent = `Show ${grouped(unseen)} new`;
  empty.hidden = list.children.length > 0;
}

/**
 * The messages on the page, with what was searched for marked.
 * @param {string} q
 */
function createShown(q) {
  const ids = new Set();
  return {
    /** @param {string} message_id */
    has: (message_id) => ids.has(message_id),
    /** @param {Message[]} messages */
    replace(messages) {
      ids.clear();
      for (const { message_id } of messages) ids.add(message_id);
      list.replaceChildren(...messages.map((message) => makeItem(message, q)));
    },
    /** The last one comes first. @param {Message[]} messages */
    addOnTop(messages) {
      for (const message of messages) {
        ids.add(message.message_id);
        const item = makeItem(message, q);
        item.classList.add('new');
        list.prepend(item);
      }
      while (list.children.length > MOST_SHOWN) list.lastElementChild?.remove();
    },
  };
}

/** @param {Filter} filter */
function firstPage({ q, from, since }) {
  return new URLSearchParams({ order: 'newest', limit: String(PAGE_MESSAGES), q, from, since }).toString();
}

/**
 * @param {Message} message
 * @param {Filter} filter
 */
function isWanted({ from, ts, text }, filter) {
  return (filter.from === '' || from === filter.from) && (filter.q === '' || (text !== null && lower(text).includes(lower(filter.q))))
    && (filter.since === '' || Date.parse(ts) >= Date.parse(filter.since));
}

/** ASCII letters in either case, as the service searches. @param {string} mixed */
const lower = (mixed) => mixed.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());

/**
 * @param {Message} message
 * @param {string} q
 */
function makeItem({ message_id, from, to, ts, text }, q) {
  const time = make('time', '', ts);
  time.setAttribute('datetime', ts);
  const body = text === null ? make('p', 'text muted', 'no text') : make('p', 'text', ...highlighted(text, q));
  body.dir = 'auto';
  return make('li', '', time, make('p', 'numbers', `${from} → ${to}`), make('p', 'id', message_id), body);
}

/**
 * The text with what was searched for marked.
 * @param {string} text
 * @param {string} q
 * @returns {(string | Node)[]}
 */
function highlighted(text, q) {
  if (q === '') return [text];
  const [inText, wanted] = [lower(text), lower(q)];
  const parts = [];
  let end = 0;
  for (let at = inText.indexOf(wanted); at !== -1; at = inText.indexOf(wanted, end)) {
    parts.push(text.slice(end, at), make('mark', '', text.slice(at, at + q.length)));
    end = at + q.length;
  }
  return [...parts, text.slice(end)];
}
