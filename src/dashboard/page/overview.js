/** Totals, top senders, the last hour, and readiness. */
import { Refused, request } from './api.js';
import { element, grouped, make, makeSvg } from './dom.js';

/**
 * @typedef {object} Stats
 * @property {number} total_messages
 * @property {number} senders_count
 * @property {{ from: string, count: number }[]} messages_per_sender
 * @property {string | null} first_message_ts
 * @property {string | null} last_message_ts
 *
 * @typedef {{ from: string, count: number }} Minute
 */

const total = element('total', HTMLElement);
const span = element('span', HTMLElement);
const senders = element('senders', HTMLElement);
const topSenders = element('top-senders', HTMLElement);
const minutesPlot = element('minutes', HTMLElement);
const minutesSummary = element('minutes-summary', HTMLElement);
const readiness = element('readiness', HTMLElement);
const storage = element('storage', HTMLElement);

/**
 * Asks for all of it and shows it. Rejects with Refused.
 * @param {(sender: string) => void} onSender
 */
export async function refreshOverview(onSender) {
  const [stats, arrivals, database] = await Promise.all([request('stats'), request('stats/minutes'), request('storage')]);
  showStats(await stats.json(), onSender);
  showMinutes((await arrivals.json()).minutes);
  showStorage(await database.json());
}

/**
 * @param {Stats} stats
 * @param {(sender: string) => void} onSender
 */
function showStats({ total_messages, senders_count, messages_per_sender, first_message_ts, last_message_ts }, onSender) {
  total.textContent = grouped(total_messages);
  span.textContent = first_message_ts === null ? 'none yet' : `from ${first_message_ts} to ${last_message_ts}`;
  senders.textContent = `of ${grouped(senders_count)}`;
  const largest = messages_per_sender[0]?.count ?? 1;
  topSenders.replaceChildren(...messages_per_sender.map(({ from, count }) => {
    const button = make('button', '', from);
    button.setAttribute('type', 'button');
    button.setAttribute('aria-label', `Show the messages of ${from}`);
    button.addEventListener('click', () => onSender(from));
    const bar = make('span', 'bar');
    bar.style.width = `${Math.max(1, (count / largest) * 100)}%`;
    return make('li', '', button, bar, grouped(count));
  }));
}

const ENGINES = { sqlite: 'SQLite', postgresql: 'PostgreSQL' };

/** @param {{ engine: keyof typeof ENGINES, version: string | null, host: string | null, connected: boolean }} database */
function showStorage({ engine, version, host, connected }) {
  const where = host === null ? '' : ` on ${host}`;
  storage.textContent = `Kept in ${ENGINES[engine]} ${version ?? ''}${where}${connected ? '' : ', not connected'}`;
}

const PLOT_HEIGHT = 40;

/** @param {Minute[]} minutes */
function showMinutes(minutes) {
  const most = minutes.reduce((high, { count }) => Math.max(high, count), 0);
  const sum = minutes.reduce((all, { count }) => all + count, 0);
  const summary = sum === 0 ? 'None in the last hour' : `${grouped(sum)} in all, ${grouped(most)} in the busiest minute`;
  const viewBox = `0 0 ${minutes.length} ${PLOT_HEIGHT}`;
  const plot = makeSvg('svg', { viewBox, preserveAspectRatio: 'none', role: 'img', 'aria-label': summary });
  plot.append(makeSvg('line', { x1: 0, y1: PLOT_HEIGHT, x2: minutes.length, y2: PLOT_HEIGHT, 'stroke-width': 1 }));
  minutes.forEach(({ from, count }, index) => {
    const height = most === 0 ? 0 : (count / most) * (PLOT_HEIGHT - 1);
    const bar = makeSvg('rect', { x: index + 0.1, y: PLOT_HEIGHT - height, width: 0.8, height });
    const title = makeSvg('title', {});
    title.textContent = `${from.slice(11, 16)} UTC: ${grouped(count)}`;
    bar.append(title);
    plot.append(bar);
  });
  minutesPlot.replaceChildren(plot);
  minutesSummary.textContent = summary;
}

/** Asks whether the service is ready, shows that or why not, and returns it. Never rejects. */
export async function refreshReadiness() {
  try {
    const response = await request('health/ready', { alsoFine: 503 });
    const { reasons = [], degraded = [] } = await response.json();
    const isReady = response.status === 200;
    if (!isReady) show(false, `Not ready: ${reasons.join('; ')}`);
    else show(degraded.length === 0, ['Ready', ...degraded].join('; '));
    return isReady;
  } catch (error) {
    show(false, error instanceof Refused ? `Not ready: ${error.message}` : 'The service does not answer');
    return false;
  }
}

/**
 * @param {boolean} isReady
 * @param {string} text
 */
function show(isReady, text) {
  if (readiness.textContent === text) return;
  readiness.textContent = text;
  readiness.className = isReady ? 'good' : 'bad';
}
