/** Joins the parts: what the operator asks for, what arrives, and the token where one is needed. */
import { addressOf, cameBy, go, readPlace } from './address.js';
import { reasonOf, Refused } from './api.js';
import { hideDetail, showDetail, watchDetail } from './detail.js';
import { element, make, setText } from './dom.js';
import { checkFilters, isFiltered, readFilters, watchFilters, writeFilters } from './filters.js';
import { createList } from './messages.js';
import { showView, watchLinks } from './navigation.js';
import { refreshOverview } from './overview.js';
import { countOf, markSeen, refreshRefusals } from './refusals.js';
import { focusRow, watchRows } from './rows.js';
import { showCommand } from './sending.js';
import { askForMetrics, refreshReadiness, refreshService } from './service.js';
import { follow } from './stream.js';
import { askForToken, useToken, watchToken } from './token.js';

const OVERVIEW_EVERY_MS = 15_000;
const READINESS_EVERY_MS = 5_000;
/** After what arrives, at most once in this time. */
const OVERVIEW_SOON_MS = 1_000;

const STATES = { connecting: 'Connecting …', live: 'Live', lost: 'Not connected, trying again' };
const STATE_CLASSES = { connecting: '', live: 'good', lost: 'bad' };

const content = element('content', HTMLElement);
const views = element('views', HTMLElement);
const refusedCount = element('refused-count', HTMLElement);
const problem = element('problem', HTMLElement);
const empty = element('empty', HTMLElement);
const pause = element('pause', HTMLButtonElement);
const sending = element('sending', HTMLDetailsElement);
const connection = element('connection', HTMLElement);

/** @typedef {'list' | 'overview' | 'service' | 'refusals'} PartName */

/** As long as the same token is used. */
let session = new AbortController();
let view = new AbortController();
/** @type {ReturnType<typeof createList>} */
let list;
/** What is shown; undefined before the start. @type {import('./address.js').Place | undefined} */
let shown;
/** @type {number | undefined} */
let overviewSoon;
let isReady = false;
/** Whether it answers at all. */
let isGone = false;
/** How many requests were refused, seen or not, as it is written. */
let refusedInAll = '';
let isLive = false;
/** How requests may be signed; undefined until that is known. @type {string[] | undefined} */
let schemes;
/** What failed when it was last asked for, and why: said until it is answered. @type {Map<PartName, string>} */
const problems = new Map();

/** Shows what the address says. */
function showPlace() {
  if (content.hidden) return;
  const place = readPlace();
  const former = shown;
  shown = place;
  showView(place);
  if (former?.view === 'refused' && place.view !== 'refused') leaveRefused();
  writeFilters(place);
  if (place.q !== former?.q || place.from !== former.from || place.since !== former.since) void showFiltered();
  void showDetail(place.message, (error) => refused('list', error));
}

/** Shows the newest messages of the filters as they are now. */
async function showFiltered() {
  view.abort();
  view = new AbortController();
  const { q, from, since } = readFilters();
  list = createList({ q, from, since: since === '' ? '' : `${withSeconds(since)}Z` });
  list.pause(isPaused());
  await load();
}

/** Shows the page of the list that is wanted. */
async function load() {
  if (!canMatch()) {
    list.clear();
    tell('list', '');
    return showEmpty();
  }
  const { signal } = view;
  await keep('list', () => list.load(signal), signal);
  showEmpty();
}

/** What stands where no message is. */
function showEmpty() {
  const { text, refusedRequests } = describeEmpty();
  if (empty.textContent === `${text}${refusedRequests}`) return;
  const link = make('a', '', refusedRequests);
  link.setAttribute('href', addressOf({ view: 'refused' }));
  empty.replaceChildren(text, ...(refusedRequests === '' ? [] : [link]));
}

/** @returns {{ text: string, refusedRequests: string }} The second as the text of a link, or empty. */
function describeEmpty() {
  if (!canMatch()) return { text: 'Mend the sender, or clear the filters.', refusedRequests: '' };
  if (isGone || problems.has('list')) return { text: 'What is in the inbox now is not known.', refusedRequests: '' };
  if (isFiltered()) return { text: 'No message matches. Clear the filters to see all.', refusedRequests: '' };
  if (isReady && list.isEmpty()) sending.open = true;
  return {
    text: `The inbox is empty.${isReady ? ' Send a first message: the command is below.' : ''}${refusedInAll === '' ? '' : ' '}`,
    refusedRequests: refusedInAll === '' ? '' : `${refusedInAll} refused: see why.`,
  };
}

function followStream() {
  session = new AbortController();
  follow(session.signal, {
    onState(state) {
      setText(connection, STATES[state]);
      connection.className = STATE_CLASSES[state];
      const isNow = state === 'live' && !isLive;
      if (state === 'lost' && isLive) void askWhetherReady();
      isLive = state === 'live';
      if (!isNow) return;
      if (problems.size > 0) void catchUp();
      else void keep('service', refreshService);
    },
    onMessages(messages) {
      list.arrive(messages);
      overviewSoon ??= setTimeout(() => {
        overviewSoon = undefined;
        void keep('overview', refreshOverview);
      }, OVERVIEW_SOON_MS);
    },
    onMissed: () => void load(),
    onRefused: endSession,
  });
}

const refreshRefused = () => keep('refusals', async () => {
  schemes ??= await showCommand();
  const { all, unseen } = await refreshRefusals(schemes);
  refusedInAll = countOf(all);
  setText(refusedCount, countOf(unseen));
  showEmpty();
});

/** What was looked at is counted no longer. */
function leaveRefused() {
  markSeen();
  setText(refusedCount, '');
  void refreshRefused();
}

async function askWhetherReady() {
  const readiness = await refreshReadiness();
  isReady = readiness === 'ready';
  isGone = readiness === 'gone';
  // Figures of a service that is gone are of the past.
  content.classList.toggle('stale', isGone);
  if (!content.hidden) showEmpty();
}

/** Asks for what is beside the list, and again for what is not up to date. */
async function catchUp() {
  await Promise.all([
    keep('overview', refreshOverview), keep('service', refreshService), refreshRefused(), problems.has('list') && load(),
  ]);
}

/**
 * Asks for a part of the page, and says what is wrong where that fails.
 * @param {PartName} part
 * @param {() => Promise<void>} refresh
 * @param {AbortSignal} [signal] Where that is aborted, a failure says nothing.
 */
async function keep(part, refresh, signal = session.signal) {
  try {
    await refresh();
    tell(part, '');
  } catch (error) {
    if (!signal.aborted) refused(part, error);
  }
}

/**
 * @param {PartName} part
 * @param {unknown} error
 */
function refused(part, error) {
  if (error instanceof Refused && error.status === 401) return endSession();
  tell(part, reasonOf(error));
}

/**
 * @param {PartName} part
 * @param {string} text Empty where there is no problem.
 */
function tell(part, text) {
  if (text === '') problems.delete(part);
  else problems.set(part, text);
  setText(problem, [...new Set(problems.values())].join(' '));
}

/** Shows nothing more until there is another token. */
function endSession() {
  session.abort();
  view.abort();
  hideDetail();
  content.hidden = true;
  views.hidden = true;
  setText(connection, 'Not connected');
  connection.className = '';
  askForToken();
}

async function start() {
  useToken();
  askForMetrics();
  content.hidden = false;
  views.hidden = false;
  shown = undefined;
  followStream();
  showPlace();
  await catchUp();
}

/** A datetime-local input leaves out seconds that are 0. @param {string} time */
const withSeconds = (time) => (/:\d\d:\d\d/.test(time) ? time : `${time}:00`);
const canMatch = () => checkFilters(cameBy() === 'typing');
const isPaused = () => pause.getAttribute('aria-pressed') === 'true';

watchFilters((by) => {
  const place = { ...readPlace(), ...readFilters() };
  const isOther = go(place, { ...(by && { by }), instead: by === 'typing' && cameBy() === 'typing' });
  // Whoever asks again for the same wants it anew.
  if (!isOther) void showFiltered();
});
watchDetail((message_id) => {
  // Back to where it was opened from, unless that was by its address.
  if (cameBy() === 'opening') history.back();
  else go({ ...readPlace(), message: '' }, { instead: true });
  if (document.activeElement === document.body) focusRow(message_id);
});
watchLinks();
watchRows();
watchToken(() => void start(), () => {
  // Nothing of what was shown stays in the page, nor what was looked for in its address.
  history.replaceState(null, '', location.pathname + location.search);
  location.reload();
});
for (const [id, where] of /** @type {const} */ ([['newer', 'newer'], ['older', 'older'], ['show-new', 'newest']])) {
  element(id, HTMLButtonElement).addEventListener('click', async () => {
    list.turn(where);
    await load();
    element('messages', HTMLElement).focus({ preventScroll: true });
    element('messages', HTMLElement).scrollIntoView({ block: 'nearest' });
  });
}
pause.addEventListener('click', () => {
  pause.setAttribute('aria-pressed', String(!isPaused()));
  list.pause(isPaused());
  if (!isPaused()) void load();
});
addEventListener('popstate', showPlace);
addEventListener('pagehide', () => {
  if (shown?.view === 'refused') markSeen();
});
setInterval(() => {
  if (document.hidden) return;
  void askWhetherReady();
  if (!content.hidden) void refreshRefused();
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
await start();
