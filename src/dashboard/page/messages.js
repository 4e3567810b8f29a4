/** The list: newest first, filtered, page by page, with what arrives on top. */
import { request } from './api.js';
import { element, grouped } from './dom.js';
import { lower } from './row.js';
import { createRows, MOST_ROWS } from './rows.js';
import { FIELDS } from './stream.js';

/** @typedef {import('./stream.js').Message} Message */

const PAGE_MESSAGES = 25;

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
  const pages = createPages(firstPage(filter));
  let total = 0;
  let isLoaded = false;
  let loads = 0;
  /** The number of the page that is shown. */
  let shownPage = 1;
  let unseen = 0;
  let isPaused = false;
  const rows = createRows(filter.q);
  /** What arrived while a page was on its way, and may not be on it. @type {Message[]} */
  let meanwhile = [];

  /** @param {AbortSignal} signal */
  async function load(signal) {
    loads += 1;
    const number = loads;
    meanwhile = [];
    const response = await request(`messages?${pages.query()}`, { signal });
    const page = await response.json();
    // Another page, or this one anew, was asked for meanwhile.
    if (number !== loads) return;
    isLoaded = true;
    shownPage = pages.number();
    pages.setNext(/^<\?(.*)>; rel="next"$/.exec(response.headers.get('Link') ?? '')?.[1] ?? null);
    rows.replace(page.items);
    total = page.total;
    unseen = 0;
    arrive(meanwhile);
  }

  /** Takes in what has just been stored. @param {Message[]} messages */
  function arrive(messages) {
    const matching = messages.filter((message) => !rows.has(message.message_id) && isWanted(message, filter));
    meanwhile = [...meanwhile, ...matching].slice(-MOST_ROWS);
    if (!isLoaded) return;
    total += matching.length;
    if (shownPage > 1 || isPaused) unseen += matching.length;
    else rows.addOnTop(matching);
    showState(total, shownPage, unseen, pages.hasNext());
  }

  return {
    load,
    /** Shows nothing, as nothing can match. */
    clear() {
      rows.replace([]);
      showState(0, 1, 0, false);
      count.textContent = '';
    },
    /** Holds back what arrives, or no longer. @param {boolean} isOn */
    pause(isOn) {
      isPaused = isOn;
    },
    isEmpty: () => isLoaded && total === 0,
    turn: pages.turn,
    arrive,
  };
}

/**
 * The pages from the newest to the one that is wanted.
 * @param {string} first The query of the newest one.
 */
function createPages(first) {
  /** The query of each: the way back. */
  let pages = [first];
  /** The query of the one after them. @type {string | null} */
  let next = null;
  return {
    query: () => pages.at(-1),
    number: () => pages.length,
    hasNext: () => next !== null,
    /** @param {string | null} query */
    setNext(query) {
      next = query;
    },
    /** Goes to a page; `load` then shows it. @param {'newest' | 'newer' | 'older'} where */
    turn(where) {
      if (where === 'older' && next !== null) pages.push(next);
      // Once more before that page has come would be the same page again.
      next = null;
      if (where === 'newer' && pages.length > 1) pages.pop();
      if (where === 'newest') pages = [first];
    },
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

/** @param {Filter} filter */
function firstPage({ q, from, since }) {
  return new URLSearchParams({ order: 'newest', limit: String(PAGE_MESSAGES), fields: FIELDS, q, from, since }).toString();
}

/**
 * @param {Message} message
 * @param {Filter} filter
 */
function isWanted({ from, ts, text }, filter) {
  return (filter.from === '' || from === filter.from) && (filter.q === '' || (text !== null && lower(text).includes(lower(filter.q))))
    && (filter.since === '' || Date.parse(ts) >= Date.parse(filter.since));
}
