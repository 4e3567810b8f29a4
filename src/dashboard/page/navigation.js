/** The two views, and what its links do: they change the address, and the page stays. */
import { addressOf, go, readPlace } from './address.js';
import { element } from './dom.js';

/** @typedef {import('./address.js').Place} Place */

const main = element('main', HTMLElement);
const messagesView = element('messages-view', HTMLElement);
const refusedView = element('refused-view', HTMLElement);
const toMessages = element('view-messages', HTMLAnchorElement);
const toRefused = element('view-refused', HTMLAnchorElement);

/**
 * Shows the view of a place; each keeps the filters for the way back.
 * @param {Place} place
 */
export function showView(place) {
  const isRefused = place.view === 'refused';
  messagesView.hidden = isRefused;
  refusedView.hidden = !isRefused;
  document.title = isRefused ? 'Refused requests – webhook-inbox' : 'webhook-inbox';
  markCurrent(toMessages, !isRefused);
  markCurrent(toRefused, isRefused);
  toMessages.href = addressOf({ ...place, view: 'messages', message: '' });
  toRefused.href = addressOf({ ...place, view: 'refused', message: '' });
}

/**
 * @param {HTMLAnchorElement} link
 * @param {boolean} isCurrent
 */
function markCurrent(link, isCurrent) {
  if (isCurrent) link.setAttribute('aria-current', 'page');
  else link.removeAttribute('aria-current');
}

/**
 * Goes where a link leads from here: a sender sets the filter alone, and a message is opened above what is shown.
 * @param {HTMLAnchorElement} link
 */
function followLink(link) {
  const wanted = readPlace(link.hash);
  if (link.matches('.sender')) go({ ...readPlace(), view: 'messages', from: wanted.from, message: '' });
  else if (link.matches('.open')) go({ ...readPlace(), message: wanted.message }, { by: 'opening' });
  else go(wanted);
}

/** Follows the links of the page within it; whoever wants another tab or window gets that from the browser. */
export function watchLinks() {
  document.addEventListener('click', (event) => {
    const link = event.target instanceof Element ? event.target.closest('a') : null;
    const isPlain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey;
    if (link === null || !isPlain) return;
    event.preventDefault();
    // The fragment is what the page keeps its state in.
    if (link.matches('.skip')) main.focus();
    else followLink(link);
  });
}
