/** How times are told: how long ago by the clock of the service, with the exact time at hand. */
import { make, setText } from './dom.js';

const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
/** Longer ago, a date says more. */
const RELATIVE_DAYS = 30;
const DATE_CHARACTERS = 'yyyy-mm-dd'.length;
const RENEW_EVERY_MS = 5 * SECOND_MS;
/** As exact as a `Date` header and its way here. */
const NOW_MS = 5 * SECOND_MS;

/** How far the clock of the service is ahead of that of the browser, in milliseconds. */
let aheadMs = 0;

/** @param {string | null} date The `Date` of an answer (RFC 9110 section 6.6.1). */
export function setClockBy(date) {
  const ms = date === null ? NaN : Date.parse(date) - Date.now();
  // Smaller differences are of rounding and of the way.
  if (!Number.isNaN(ms)) aheadMs = Math.abs(ms) < NOW_MS ? 0 : ms;
}

/**
 * A length of time in its largest unit, rounded down.
 * @param {number} ms Not negative.
 */
export function lengthOf(ms) {
  if (ms < MINUTE_MS) return `${Math.floor(ms / SECOND_MS)} s`;
  if (ms < HOUR_MS) return `${Math.floor(ms / MINUTE_MS)} min`;
  if (ms < DAY_MS) return `${Math.floor(ms / HOUR_MS)} h`;
  return `${Math.floor(ms / DAY_MS)} d`;
}

/** @param {number} ms */
const isDated = (ms) => Math.abs(ms) > RELATIVE_DAYS * DAY_MS;

/** @param {string} ts */
function tell(ts) {
  const ms = Date.now() + aheadMs - Date.parse(ts);
  // A row of an older file may hold what is no time.
  if (Number.isNaN(ms)) return ts;
  if (Math.abs(ms) < NOW_MS) return 'now';
  if (isDated(ms)) return ts.slice(0, DATE_CHARACTERS);
  return ms > 0 ? `${lengthOf(ms)} ago` : `in ${lengthOf(-ms)}`;
}

/**
 * The exact time, for people.
 * @param {string} ts RFC 3339 in UTC.
 */
export const exactly = (ts) => ts.replace('T', ' ').replace(/Z$/, ' UTC');

/**
 * How long ago a time was, kept up to date while it is on the page.
 * @param {string} ts RFC 3339 in UTC.
 */
export function makeRelativeTime(ts) {
  const time = make('time', 'relative');
  time.setAttribute('datetime', ts);
  time.title = exactly(ts);
  renew(time);
  return time;
}

/**
 * Tells a time as it is now; of a date, the style sheet adds the time of day where there is room.
 * @param {HTMLElement} time
 */
function renew(time) {
  const ts = time.getAttribute('datetime') ?? '';
  setText(time, tell(ts));
  if (isDated(Date.now() + aheadMs - Date.parse(ts))) time.dataset['clock'] = ts.slice(DATE_CHARACTERS + 1, 'yyyy-mm-ddThh:mm'.length);
  else delete time.dataset['clock'];
}

/**
 * The exact time.
 * @param {string} ts RFC 3339 in UTC.
 */
function makeExactTime(ts) {
  const time = make('time', 'exact', exactly(ts));
  time.setAttribute('datetime', ts);
  return time;
}

/**
 * The time to the second, and exactly on demand.
 * @param {string} ts RFC 3339 in UTC.
 */
export function makeSecond(ts) {
  const time = make('time', '', exactly(ts.replace(/\.\d+/, '')));
  time.setAttribute('datetime', ts);
  time.title = exactly(ts);
  return time;
}

/**
 * The exact time, and how long ago that was where it is not long.
 * @param {string} ts RFC 3339 in UTC.
 * @returns {(string | Node)[]}
 */
export const makeTimes = (ts) => (exactly(ts).startsWith(tell(ts)) ? [makeExactTime(ts)] : [makeExactTime(ts), ' ', makeRelativeTime(ts)]);

setInterval(() => {
  if (document.hidden) return;
  for (const time of document.querySelectorAll('time.relative')) {
    if (time instanceof HTMLElement) renew(time);
  }
}, RENEW_EVERY_MS);
