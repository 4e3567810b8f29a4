/** The requests that were refused lately: the causes with what to do about each, then every one. */
import { request } from './api.js';
import { causeOf } from './causes.js';
import { element, grouped, make, setText } from './dom.js';
import { makeRelativeTime } from './time.js';

/** @typedef {import('./causes.js').Refusal} Refusal */
/** @typedef {ReturnType<typeof causeOf> & { refusals: Refusal[] }} Kind */

/** The service keeps no more of them. */
const MOST_KEPT = 200;
/** Addresses that are named of a cause; of more there is the number. */
const NAMED_ADDRESSES = 3;
/** When the last one came that was seen in this tab: in RFC 3339, as the service writes each, so that the text sorts by time. */
const SEEN_KEY = 'refused-seen';

const summary = element('refused-summary', HTMLElement);
const causes = element('causes', HTMLElement);
const all = element('refusals', HTMLElement);
const rows = element('refusals-list', HTMLElement);
const empty = element('refused-empty', HTMLElement);

/** The request that is shown on top: nothing is drawn anew where none has come since. @type {string | undefined} */
let newest;
/** When that came; empty where there is none. */
let newestAt = '';

/** Takes what is shown for seen. */
export const markSeen = () => {
  if (newestAt !== '') sessionStorage.setItem(SEEN_KEY, newestAt);
};

/**
 * Asks for them, shows them, and returns how many there are, and how many of them came after what was seen. Rejects with Refused.
 * @param {string[]} schemes How requests may be signed here.
 */
export async function refreshRefusals(schemes) {
  /** @type {{ items: Refusal[] }} */
  const { items } = await (await request('refusals')).json();
  empty.hidden = items.length > 0;
  all.hidden = items.length === 0;
  newestAt = items[0]?.at ?? '';
  const seen = sessionStorage.getItem(SEEN_KEY) ?? '';
  const counts = { all: items.length, unseen: items.filter(({ at }) => at > seen).length };
  if (items[0]?.request_id === newest && newest !== undefined) return counts;
  newest = items[0]?.request_id;
  setText(summary, items.length === 0 ? '' : items.length < MOST_KEPT ? 'All since the service started' : `The last ${MOST_KEPT}`);
  const kinds = kindsOf(items, schemes);
  causes.replaceChildren(...kinds.map(makeKind));
  const titles = new Map(kinds.flatMap(({ title, faults, refusals }) =>
    refusals.map((refusal) => /** @type {const} */ ([refusal, [title, ...faults].join('; ')]))));
  rows.replaceChildren(...items.map((refusal) => makeEntry(refusal, titles.get(refusal) ?? '')));
  return counts;
}

/**
 * How many, in a few characters; empty where there are none.
 * @param {number} count
 */
export const countOf = (count) => (count === 0 ? '' : count < MOST_KEPT ? String(count) : `${MOST_KEPT}+`);

/**
 * Those of one cause together; the cause that came last first.
 * @param {Refusal[]} items The newest first.
 * @param {string[]} schemes
 */
function kindsOf(items, schemes) {
  /** @type {Map<string, Kind>} */
  const kinds = new Map();
  for (const refusal of items) {
    const cause = causeOf(refusal, schemes);
    const name = JSON.stringify(cause);
    const kind = kinds.get(name);
    if (kind === undefined) kinds.set(name, { ...cause, refusals: [refusal] });
    else kind.refusals.push(refusal);
  }
  return [...kinds.values()];
}

/** @param {Kind} kind */
function makeKind({ title, mend, faults, refusals }) {
  const [latest] = refusals;
  const addresses = [...new Set(refusals.map(({ remote_address }) => remote_address ?? 'an unknown address'))];
  const more = addresses.length - NAMED_ADDRESSES;
  const where = `${addresses.slice(0, NAMED_ADDRESSES).join(', ')}${more > 0 ? ` and ${grouped(more)} more` : ''}`;
  const when = latest === undefined ? '' : makeRelativeTime(latest.at);
  const often = make('p', 'muted', `${describeStatus(latest?.status ?? null)} · ${howOften(refusals.length)} `, when, `, from ${where}`);
  const fields = faults.length === 0 ? [] : [make('ul', 'faults', ...faults.map((fault) => make('li', '', fault)))];
  return make('li', 'card', make('h3', '', title), often, make('p', '', mend), ...fields);
}

/** @param {number} count */
const howOften = (count) => (count === 1 ? 'once,' : count === 2 ? 'twice, last' : `${grouped(count)} times, last`);

/** @param {number | null} status */
const describeStatus = (status) => (status === null ? 'closed without an answer' : `status ${status}`);

/**
 * @param {Refusal} refusal
 * @param {string} title
 */
function makeEntry({ at, status, remote_address, request_id }, title) {
  const cells = [
    makeRelativeTime(at), status === null ? 'none' : String(status), title, remote_address ?? 'not known', request_id,
  ];
  const row = make('tr', '', ...cells.map((cell) => make('td', '', cell)));
  row.children[2]?.setAttribute('title', title);
  return row;
}
