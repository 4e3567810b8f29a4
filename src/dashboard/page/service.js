/** How the service is: whether it is ready, and one quiet line about what it runs on. */
import { Refused, request } from './api.js';
import { element, grouped, make, setText } from './dom.js';

const readiness = element('readiness', HTMLElement);
const line = element('service', HTMLElement);

/**
 * Asks whether the service is ready, and shows that or why not; what it runs on is shown no longer where it does not answer. Never rejects.
 * @returns {Promise<'ready' | 'not ready' | 'gone'>}
 */
export async function refreshReadiness() {
  try {
    const response = await request('health/ready', { alsoFine: 503 });
    const { reasons = [], degraded = [] } = await response.json();
    if (response.status !== 200) show('bad', `Not ready: ${reasons.join('; ')}`);
    else show(degraded.length === 0 ? 'good' : 'fair', ['Ready', ...degraded].join('; '));
    return response.status === 200 ? 'ready' : 'not ready';
  } catch (error) {
    if (error instanceof Refused) {
      show('bad', `Not ready: ${error.message}`);
      return 'not ready';
    }
    show('bad', 'No answer');
    line.replaceChildren();
    return 'gone';
  }
}

/**
 * @param {'good' | 'fair' | 'bad'} how
 * @param {string} text
 */
function show(how, text) {
  setText(readiness, text);
  readiness.className = how;
}

/** Metrics may be turned off or have a token of their own: then they are asked for once with each token. */
let areMetricsOpen = true;
export const askForMetrics = () => { areMetricsOpen = true; };

/** Shows what the service runs on. Rejects with Refused. */
export async function refreshService() {
  const [response, metrics] = await Promise.all([request('storage'), readMetrics()]);
  /** @type {Database} */
  const database = await response.json();
  const parts = [describeStorage(database), ...(metrics === null ? [] : describeMetrics(metrics, database.engine === 'sqlite'))];
  line.replaceChildren(...parts.filter((part) => part !== '').map((part) => make('li', '', part)));
}

/** The value of each series by its name with labels, as it is written; null where they are not to be had. */
async function readMetrics() {
  if (!areMetricsOpen) return null;
  try {
    const text = await (await request('metrics')).text();
    const lines = text.split('\n').filter((each) => each !== '' && !each.startsWith('#'));
    return new Map(lines.map((each) => {
      const end = each.lastIndexOf(' ');
      return /** @type {[string, number]} */ ([each.slice(0, end), Number(each.slice(end + 1))]);
    }));
  } catch (error) {
    if (error instanceof Refused && error.status < 500) areMetricsOpen = false;
    return null;
  }
}

const ENGINES = { sqlite: 'SQLite', postgresql: 'PostgreSQL' };

/** @typedef {{ engine: keyof typeof ENGINES, version: string | null, host: string | null, connected: boolean }} Database */

/** @param {Database} database */
function describeStorage({ engine, version, host, connected }) {
  const named = [ENGINES[engine], ...(version === null ? [] : [version]), ...(host === null ? [] : [`on ${host}`])].join(' ');
  return connected ? named : `${named}, not connected`;
}

const BUILD = /^webhook_inbox_build_info\{.*?\bversion="([^"]*)"/;

/**
 * @param {Map<string, number>} metrics
 * @param {boolean} hasIndex Whether what reads need is apart from the messages.
 */
function describeMetrics(metrics, hasIndex) {
  const build = [...metrics.keys()].map((series) => BUILD.exec(series)?.[1]).find((version) => version !== undefined);
  const free = metrics.get('database_disk_free_bytes');
  const [repeats, conflicts] = [metrics.get('webhook_duplicates_total') ?? 0, metrics.get('webhook_conflicting_duplicates_total') ?? 0];
  const readers = metrics.get('message_streams_open') ?? 0;
  return [
    build === undefined ? '' : `webhook-inbox ${build}`,
    free === undefined ? '' : `${inBytes(free)} free`,
    `${counted(repeats, 'duplicate')}${conflicts === 0 ? '' : `, ${grouped(conflicts)} conflicting`}`,
    `${counted(readers, 'stream')} open`,
    !hasIndex ? '' : describeIndex(metrics.get('storage_index_ready') === 1, metrics.get('storage_index_lag_messages') ?? 0),
  ];
}

/**
 * @param {boolean} isReady
 * @param {number} lag Messages that are not in it.
 */
function describeIndex(isReady, lag) {
  if (lag > 0) return `Index ${isReady ? '' : 'not ready, '}${counted(lag, 'message')} behind`;
  return isReady ? 'Index up to date' : 'Index not ready';
}

/**
 * @param {number} count
 * @param {string} what
 */
const counted = (count, what) => `${grouped(count)} ${what}${count === 1 ? '' : 's'}`;

const UNITS = ['bytes', 'kB', 'MB', 'GB', 'TB', 'PB'];

/** @param {number} bytes */
function inBytes(bytes) {
  const power = bytes < 1 ? 0 : Math.min(Math.floor(Math.log10(bytes) / 3), UNITS.length - 1);
  const value = bytes / 1000 ** power;
  return `${value >= 100 || power === 0 ? Math.round(value) : value.toFixed(1)} ${UNITS[power]}`;
}
