/** Joins the parts: what the operator asks for, what arrives, and the token where one is needed. */
import { forgetToken, hasToken, keepToken, Refused } from './api.js';
import { element } from './dom.js';
import { createList } from './messages.js';
import { refreshOverview, refreshReadiness } from './overview.js';
import { showCommand } from './sending.js';
import { follow } from './stream.js';

const OVERVIEW_EVERY_MS = 15_000;
const READINESS_EVERY_MS = 5_000;
/** After what arrives, at most once in this time. */
const OVERVIEW_SOON_MS = 1_000;
const TYPING_PAUSE_MS = 200;

const content = element('content', HTMLElement);
const filters = element('filters', HTMLFormElement);
const [q, from, since] = [element('q', HTMLInputElement), element('from', HTMLInputElement), element('since', HTMLInputElement)];
const problem = element('problem', HTMLElement);
const empty = element('empty', HTMLElement);
const sending = element('sending', HTMLDetailsElement);
const connection = element('connection', HTMLElement);
const tokenSection = element('token-section', HTMLElement);
const tokenInput = element('token', HTMLInputElement);
const tokenProblem = element('token-problem', HTMLElement);
const forget = element('forget-token', HTMLButtonElement);

let view = new AbortController();
/** @type {ReturnType<typeof createList>} */
let list;
/** @type {number | undefined} */
let typing;
/** @type {number | undefined} */
let overviewSoon;

/** Shows the newest messages of the filters as they are now, and follows the stream of those. */
async function showFiltered() {
  clearTimeout(typing);
  view.abort();
  view = new AbortController();
  const { signal } = view;
  content.classList.toggle('filtered', isFiltered());
  const filter = { q: q.value, from: from.value.trim(), since: since.value === '' ? '' : `${withSeconds(since.value)}Z` };
  list = createList(filter);
  const shown = list;
  // Before the list, so that nothing is stored unseen between the two.
  const streamed = new URLSearchParams({ q: filter.q, from: filter.from });
  void follow(streamed, signal, {
    onConnected: (connected) => {
      connection.textContent = connected ? 'Live' : 'Not connected, trying again';
      connection.className = connected ? 'good' : 'bad';
    },
    onMessages(messages) {
      shown.arrive(messages);
      overviewSoon ??= setTimeout(() => {
        overviewSoon = undefined;
        void refresh();
      }, OVERVIEW_SOON_MS);
    },
    onRefused: refused,
  });
  await load(signal);
}

/** @param {AbortSignal} signal */
async function load(signal) {
  try {
    await list.load(signal);
    empty.textContent = isFiltered() ? 'No message matches. Clear the filters to see all.'
      : 'The inbox is empty. Send a first message: the command is below.';
    if (!isFiltered() && list.isEmpty()) sending.open = true;
  } catch (error) {
    if (!signal.aborted) refused(error);
  }
}

async function refresh() {
  try {
    await refreshOverview((sender) => {
      from.value = sender;
      void showFiltered();
    });
  } catch (error) {
    refused(error);
  }
}

/** @param {unknown} error */
function refused(error) {
  if (error instanceof Refused && error.status === 401) return askForToken();
  problem.textContent = error instanceof Refused ? error.message : 'The service does not answer.';
}

function askForToken() {
  // Several requests are refused together.
  if (!tokenSection.hidden) return;
  view.abort();
  tokenProblem.textContent = hasToken() ? 'That token is not accepted.' : '';
  forgetToken();
  content.hidden = true;
  forget.hidden = true;
  connection.textContent = 'Not connected';
  connection.className = '';
  tokenSection.hidden = false;
  tokenInput.focus();
}

async function start() {
  tokenSection.hidden = true;
  content.hidden = false;
  forget.hidden = !hasToken();
  await Promise.all([showFiltered(), refresh()]);
}

const isFiltered = () => q.value !== '' || from.value !== '' || since.value !== '';

/** A datetime-local input leaves out seconds that are 0. @param {string} time */
const withSeconds = (time) => (/:\d\d:\d\d/.test(time) ? time : `${time}:00`);

filters.addEventListener('input', () => {
  clearTimeout(typing);
  typing = setTimeout(() => void showFiltered(), TYPING_PAUSE_MS);
});
filters.addEventListener('submit', (event) => {
  event.preventDefault();
  void showFiltered();
});
// The fields are emptied only after the event.
filters.addEventListener('reset', () => setTimeout(() => void showFiltered()));
for (const [id, where] of /** @type {const} */ ([['newer', 'newer'], ['older', 'older'], ['show-new', 'newest']])) {
  element(id, HTMLButtonElement).addEventListener('click', async () => {
    list.turn(where);
    await load(view.signal);
    element('messages', HTMLElement).focus({ preventScroll: true });
    element('messages-heading', HTMLElement).scrollIntoView({ block: 'nearest' });
  });
}
element('token-form', HTMLFormElement).addEventListener('submit', (event) => {
  event.preventDefault();
  keepToken(tokenInput.value.trim());
  tokenInput.value = '';
  void start();
});
forget.addEventListener('click', () => {
  forgetToken();
  askForToken();
});
setInterval(() => {
  if (!document.hidden) void refreshReadiness();
}, READINESS_EVERY_MS);
setInterval(() => {
  if (!document.hidden && !content.hidden) void refresh();
}, OVERVIEW_EVERY_MS);

void refreshReadiness();
void showCommand().catch(() => {});
await start();
