/** Joins the parts: what the operator asks for, what arrives, and the token where one is needed. */
import { forgetToken, keepToken, Refused, tokenOfTab } from './api.js';
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

const STATES = { connecting: 'Connecting …', live: 'Live', lost: 'Not connected, trying again' };

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

/** As long as the same token is used. */
let session = new AbortController();
let view = new AbortController();
/** @type {ReturnType<typeof createList>} */
let list;
/** @type {number | undefined} */
let typing;
/** @type {number | undefined} */
let overviewSoon;
let isReady = false;
let isLive = false;
/** What failed when it was last asked for, and why: said until it is answered. @type {Map<'list' | 'overview', string>} */
const problems = new Map();

/** Shows the newest messages of the filters as they are now. */
async function showFiltered() {
  clearTimeout(typing);
  view.abort();
  view = new AbortController();
  content.classList.toggle('filtered', isFiltered());
  const filter = { q: q.value, from: from.value.trim(), since: since.value === '' ? '' : `${withSeconds(since.value)}Z` };
  list = createList(filter);
  await load();
}

function followStream() {
  session = new AbortController();
  follow(session.signal, {
    onState(state) {
      connection.textContent = STATES[state];
      connection.className = state === 'live' ? 'good' : state === 'lost' ? 'bad' : '';
      const isBack = state === 'live' && !isLive;
      isLive = state === 'live';
      if (isBack && problems.size > 0) void catchUp();
    },
    onMessages(messages) {
      list.arrive(messages);
      overviewSoon ??= setTimeout(() => {
        overviewSoon = undefined;
        void refresh();
      }, OVERVIEW_SOON_MS);
    },
    onMissed: () => void load(),
    onRefused: askForToken,
  });
}

/** Shows the page of the list that is wanted. */
async function load() {
  const { signal } = view;
  try {
    await list.load(signal);
    tell('list', '');
    showEmpty();
  } catch (error) {
    if (!signal.aborted) refused('list', error);
  }
}

/** What stands where no message is. */
function showEmpty() {
  if (isFiltered()) empty.textContent = 'No message matches. Clear the filters to see all.';
  else empty.textContent = `The inbox is empty.${isReady ? ' Send a first message: the command is below.' : ''}`;
  if (isReady && !isFiltered() && list.isEmpty()) sending.open = true;
}

async function refresh() {
  try {
    await refreshOverview((sender) => {
      from.value = sender;
      void showFiltered();
    });
    tell('overview', '');
  } catch (error) {
    refused('overview', error);
  }
}

async function askWhetherReady() {
  const wasReady = isReady;
  isReady = await refreshReadiness();
  if (isReady !== wasReady) showEmpty();
}

/** Asks again for what is not up to date. */
async function catchUp() {
  await Promise.all([refresh(), problems.has('list') && load()]);
}

/**
 * @param {'list' | 'overview'} part
 * @param {unknown} error
 */
function refused(part, error) {
  if (error instanceof Refused && error.status === 401) return askForToken();
  tell(part, error instanceof Refused ? error.message : 'The service does not answer.');
}

/**
 * @param {'list' | 'overview'} part
 * @param {string} text Empty where there is no problem.
 */
function tell(part, text) {
  if (text === '') problems.delete(part);
  else problems.set(part, text);
  const all = [...new Set(problems.values())].join(' ');
  if (problem.textContent !== all) problem.textContent = all;
}

function askForToken() {
  // Several requests are refused together.
  if (!tokenSection.hidden) return;
  session.abort();
  view.abort();
  tokenProblem.textContent = tokenOfTab() !== null ? 'That token is not accepted.' : '';
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
  forget.hidden = tokenOfTab() === null;
  followStream();
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
    await load();
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
  if (!document.hidden) void askWhetherReady();
}, READINESS_EVERY_MS);
setInterval(() => {
  if (!document.hidden && !content.hidden) void catchUp();
}, OVERVIEW_EVERY_MS);
document.addEventListener('visibilitychange', () => {
  if (document.hidden) return;
  void askWhetherReady();
  if (!content.hidden) void catchUp();
});

void askWhetherReady();
void showCommand().catch(() => {});
await start();
