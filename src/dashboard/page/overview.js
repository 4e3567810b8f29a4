/** Totals, top senders, and the last hour. */
import { request } from './api.js';
import { element, grouped, make, makeSvg, replaceParts } from './dom.js';
import { makeSender } from './sender.js';
import { makeSecond } from './time.js';

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

/** Asks for all of it and shows it. Rejects with Refused. */
export async function refreshOverview() {
  const [stats, arrivals] = await Promise.all([request('stats'), request('stats/minutes')]);
  showStats(await stats.json());
  showMinutes((await arrivals.json()).minutes);
}

/** @param {Stats} stats */
function showStats({ total_messages, senders_count, messages_per_sender, first_message_ts, last_message_ts }) {
  total.textContent = grouped(total_messages);
  span.replaceChildren(...(first_message_ts === null || last_message_ts === null
    ? ['none yet'] : ['from ', makeSecond(first_message_ts), ' to ', makeSecond(last_message_ts)]));
  senders.textContent = `of ${grouped(senders_count)}`;
  const largest = messages_per_sender[0]?.count ?? 1;
  replaceParts(topSenders, messages_per_sender.map(({ from, count }) => {
    const bar = make('span', 'bar');
    bar.style.width = `${Math.max(1, (count / largest) * 100)}%`;
    return make('li', '', makeSender(from), bar, make('span', '', grouped(count)));
  }));
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
