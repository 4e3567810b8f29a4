/** One message with all that is known of it, in a dialog beside the list. */
import { addressOf } from './address.js';
import { reasonOf, Refused, request } from './api.js';
import { copy } from './clipboard.js';
import { element, make, setText } from './dom.js';
import { makeLateness, makeText } from './row.js';
import { makeSender } from './sender.js';
import { FIELDS } from './stream.js';
import { makeTimes } from './time.js';

/** @typedef {import('./stream.js').Message} Message */

const dialog = element('detail', HTMLDialogElement);
const problem = element('detail-problem', HTMLElement);
const body = element('detail-body', HTMLElement);
const fields = element('detail-fields', HTMLElement);
const text = element('detail-text', HTMLElement);
const json = element('detail-json', HTMLElement);
const link = element('detail-link', HTMLAnchorElement);
const copied = element('detail-copied', HTMLElement);

let asked = new AbortController();
/** The id of the message that is shown, or empty. */
let shown = '';

/**
 * Shows the message with this id, or none where it is empty.
 * @param {string} message_id
 * @param {(error: unknown) => void} onRefused Where a token is needed.
 */
export async function showDetail(message_id, onRefused) {
  if (message_id === shown) return;
  shown = message_id;
  asked.abort();
  asked = new AbortController();
  if (message_id === '') return dialog.close();
  body.hidden = true;
  copied.textContent = '';
  setText(problem, 'Asking for it …');
  if (!dialog.open) dialog.showModal();
  const { signal } = asked;
  try {
    const query = new URLSearchParams({ message_id, fields: FIELDS, limit: '1' });
    const { items } = await (await request(`messages?${query}`, { signal })).json();
    setText(problem, items.length > 0 ? '' : 'There is no message with this id. It may have been erased, or have expired.');
    if (items.length > 0) show(items[0]);
  } catch (error) {
    if (signal.aborted) return;
    if (error instanceof Refused && error.status === 401) onRefused(error);
    else setText(problem, reasonOf(error));
  }
}

/** @param {Message} message */
function show(message) {
  const { message_id, from, to, ts, received_at = null, sequence } = message;
  const entries = /** @type {[string, ...(string | Node)[]][]} */ ([
    ['Id', message_id],
    ['From', makeSender(from)],
    ['To', to],
    ['Sent (ts)', ...makeTimes(ts), ' ', ...makeLateness(message)],
    ['Received', ...(received_at === null ? ['not known'] : makeTimes(received_at))],
    ['Sequence', String(sequence)],
  ]);
  fields.replaceChildren(...entries.flatMap(([name, ...parts]) => [make('dt', '', name), make('dd', '', ...parts)]));
  text.replaceChildren(makeText(message.text));
  json.textContent = JSON.stringify(message, null, 2);
  link.href = addressOf({ message: message_id });
  link.textContent = link.href;
  body.hidden = false;
}

/** Closes it for now, whatever the address says. */
export function hideDetail() {
  shown = '';
  asked.abort();
  dialog.close();
}

/** @param {(message_id: string) => void} onClosed It was closed by hand while it showed this one. */
export function watchDetail(onClosed) {
  dialog.addEventListener('close', () => {
    // The event comes later than the end, and another message may be shown by then.
    if (dialog.open) return;
    const closed = shown;
    shown = '';
    asked.abort();
    if (closed !== '') onClosed(closed);
  });
  element('detail-close', HTMLButtonElement).addEventListener('click', () => dialog.close());
  element('detail-copy', HTMLButtonElement).addEventListener('click', () => void copy(json.textContent ?? '', json, copied));
  element('detail-copy-link', HTMLButtonElement).addEventListener('click', () => void copy(link.href, link, copied));
  dialog.addEventListener('click', (event) => {
    // What surrounds it is part of it.
    if (event.target === dialog) dialog.close();
  });
}
