/** The messages on the page, one a row: the focus and the keyboard among them. */
import { element, replaceParts } from './dom.js';
import { makeRow } from './row.js';

/** @typedef {import('./stream.js').Message} Message */

/** With those that arrive on top of a page; older ones give way. */
export const MOST_ROWS = 200;

const list = element('list', HTMLElement);
const messagesSection = element('messages', HTMLElement);

/** When it was sent, in milliseconds since 1970; before everything where a row of an older file says no time. @param {Message} message */
const sentAt = ({ ts }) => (Number.isNaN(Date.parse(ts)) ? -Infinity : Date.parse(ts));

/**
 * The messages on the page, with what was searched for marked.
 * @param {string} q
 */
export function createRows(q) {
  /** @type {Set<string>} */
  const ids = new Set();
  /** The latest `ts`, in milliseconds since 1970. */
  let latest = -Infinity;
  return {
    /** @param {string} message_id */
    has: (message_id) => ids.has(message_id),
    /** @param {Message[]} messages */
    replace(messages) {
      ids.clear();
      latest = Math.max(-Infinity, ...messages.map(sentAt));
      for (const { message_id } of messages) ids.add(message_id);
      const isFocusLost = !replaceParts(list, messages.map((message) => makeRow(message, q, false)));
      if (isFocusLost) messagesSection.focus({ preventScroll: true });
    },
    /** The last one comes first. @param {Message[]} messages */
    addOnTop(messages) {
      for (const message of messages.slice(-MOST_ROWS)) {
        const sent = sentAt(message);
        const row = makeRow(message, q, sent < latest);
        latest = Math.max(latest, sent);
        ids.add(message.message_id);
        row.classList.add('new');
        list.prepend(row);
      }
      while (list.children.length > MOST_ROWS) {
        const last = list.lastElementChild;
        if (last instanceof HTMLElement) ids.delete(last.dataset['message'] ?? '');
        last?.remove();
      }
    },
  };
}

/**
 * Puts the focus on a message, or on the list where that is not on the page.
 * @param {string} message_id
 */
export function focusRow(message_id) {
  const row = [...list.children].find((child) => child instanceof HTMLElement && child.dataset['message'] === message_id);
  const open = row?.querySelector('a.open');
  if (open instanceof HTMLElement) open.focus();
  else messagesSection.focus({ preventScroll: true });
}

/** The arrows go from message to message. */
export function watchRows() {
  list.addEventListener('keydown', (event) => {
    const row = event.target instanceof Element ? event.target.closest('li') : null;
    const next = event.key === 'ArrowDown' ? row?.nextElementSibling : event.key === 'ArrowUp' ? row?.previousElementSibling : null;
    const open = next?.querySelector('a.open');
    if (!(open instanceof HTMLElement)) return;
    event.preventDefault();
    open.focus();
  });
}
