/** Reading a large table page by page: by the link to the next page (RFC 8288), and by offset. */
import { provideDatabase } from './databases.ts';
import { type Answer, get, startService } from './processes.ts';
import { sinceInstant } from './read-kinds.ts';
import { inScope } from './scope.ts';
import { below, exactly, type Figure, figure, median, percentile, show, type Stage } from './stage.ts';

const LIMIT = 100;
const MOST_PAGES = 1000;
const COMPARED_PAGES = 100;
/** What costs the same still varies from run to run. */
const MOST_GROWTH = 1.5;
const DEEP_READS = 20;

interface Item {
  readonly message_id: string;
  readonly ts: string;
}

interface Walk {
  readonly answers: readonly Answer[];
  readonly items: readonly Item[];
  /** Of the first page. */
  readonly total: number;
}

/** Follows the links from a page on, for so many pages at most. */
async function walk(first: string, mostPages: number): Promise<Walk> {
  const answers: Answer[] = [];
  const items: Item[] = [];
  let total = NaN;
  for (let url: string | undefined = first; url !== undefined && answers.length < mostPages;) {
    const answer: Answer = await get(url);
    if (answer.status !== 200) throw new Error(`${url} was answered ${answer.status}: ${answer.body}`);
    const page: { items: Item[]; total: number } = JSON.parse(answer.body);
    answers.push(answer);
    items.push(...page.items);
    if (answers.length === 1) total = page.total;
    const next: string | undefined = /<([^>]*)>\s*;\s*rel="next"/.exec(String(answer.headers['link'] ?? ''))?.[1];
    url = next === undefined ? undefined : new URL(next, url).href;
  }
  return { answers, items, total };
}

export const paging: Stage = {
  name: 'paging',
  async run(bench) {
    const { rows } = bench.options;
    return inScope(async (scope) => {
      const service = await startService(scope, await provideDatabase(scope, bench, rows));
      const stats: { first_message_ts: string; last_message_ts: string } = JSON.parse((await get(`${service.url}/stats`)).body);
      const lastMs = Date.parse(stats.last_message_ts);
      const perMs = rows / (lastMs - Date.parse(stats.first_message_ts));
      const nearEnd = lastMs - (LIMIT * COMPARED_PAGES) / perMs;
      const beginning = await walk(`${service.url}/messages?limit=${LIMIT}`, MOST_PAGES);
      bench.progress(`${beginning.answers.length} pages from the first on`);
      if (beginning.answers.length === 1 && rows > LIMIT) return [exactly('paging: a link to the next page', 'none', 'there')];
      const end = await walk(`${service.url}/messages?limit=${LIMIT}&${sinceInstant(nearEnd)}`, MOST_PAGES);
      bench.progress(`${end.answers.length} pages to the last`);
      const deep: number[] = [];
      for (let read = 0; read < DEEP_READS; read += 1) {
        deep.push((await get(`${service.url}/messages?limit=${LIMIT}&offset=${Math.max(0, rows - LIMIT)}`)).ms);
      }
      await service.end('SIGTERM');
      return [
        exactly('paging: pages from the first on', beginning.answers.length, Math.min(MOST_PAGES, Math.ceil(rows / LIMIT))),
        exactly('paging: rows met twice or out of order', outOfOrder(beginning.items) + outOfOrder(end.items), 0),
        exactly('paging: rows met from near the end to the last one', end.items.length, end.total),
        ...compare(beginning, end),
        figure(`paging: offset ${show(Math.max(0, rows - LIMIT))}`, deep, ' ms'),
      ];
    });
  },
};

/** Each page but the first, as that counts too. */
function compare(beginning: Walk, end: Walk): Figure[] {
  const times = ({ answers }: Walk) => answers.slice(1).map(({ ms }) => ms).slice(0, COMPARED_PAGES);
  const p99 = (values: number[]) => show(percentile(values.toSorted((a, b) => a - b), 0.99));
  const [first, last] = [times(beginning), times(end).slice(-COMPARED_PAGES)];
  return [
    figure(`paging: each of the first ${first.length} pages (p99 ${p99(first)} ms)`, first, ' ms'),
    figure(`paging: each of the last ${last.length} pages (p99 ${p99(last)} ms)`, last, ' ms'),
    figure('paging: the last pages, times the first', [median(last) / median(first)], '', below(MOST_GROWTH, '')),
  ];
}

/** Rows that do not come after the one before: all are of one form, whose text orders as `src/http/README.md` has it. */
const outOfOrder = (items: readonly Item[]) => items.filter(({ ts, message_id }, index) => {
  const before = items[index - 1];
  return before !== undefined && (ts < before.ts || (ts === before.ts && message_id <= before.message_id));
}).length;
