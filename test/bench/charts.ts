/** The pictures of the benchmark, as SVG: readable on a light page and on a dark one. */
import { READ_KINDS, type ReadKind } from './read-kinds.ts';
import { type DaySizes, INGEST_RUNS, latencyAt, median, type Options, percentile, type Run, show } from './stage.ts';

const STYLE = `
  text { font: 13px system-ui, sans-serif; fill: #333 }
  .title { font-size: 16px; font-weight: 600 }
  .page { fill: #fff }
  .grid { stroke: #ddd; stroke-width: 1 }
  .line { fill: none; stroke-width: 2.5; stroke-linejoin: round }
  .target { stroke: #333; stroke-width: 2; stroke-dasharray: 3 2 }
  .stroke-0 { stroke: #0b65c2 } .stroke-1 { stroke: #c2410c } .stroke-2 { stroke: #15803d } .stroke-3 { stroke: #9333ea }
  .fill-0 { fill: #0b65c2 } .fill-1 { fill: #c2410c } .hollow { fill: #fff; stroke-width: 2 }
  @media (prefers-color-scheme: dark) {
    text { fill: #d5d9e0 }
    .page { fill: #14171c }
    .grid { stroke: #333942 }
    .target { stroke: #d5d9e0 }
    .stroke-0 { stroke: #60a5fa } .stroke-1 { stroke: #fb923c } .stroke-2 { stroke: #4ade80 } .stroke-3 { stroke: #c084fc }
    .fill-0 { fill: #60a5fa } .fill-1 { fill: #fb923c } .hollow { fill: #14171c }
  }`;

const text = (x: number, y: number, words: string, attributes = '') =>
  `<text x="${round(x)}" y="${round(y)}" ${attributes}>${words}</text>`;
const line = (x1: number, y1: number, x2: number, y2: number, style: string) =>
  `<line x1="${round(x1)}" y1="${round(y1)}" x2="${round(x2)}" y2="${round(y2)}" class="${style}"/>`;
const round = (value: number) => Math.round(value * 10) / 10;

const picture = (width: number, height: number, title: string, parts: readonly string[]) => `<svg xmlns="http://www.w3.org/2000/svg" \
viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">
<title>${title}</title>
<style>${STYLE}
</style>
<rect class="page" width="${width}" height="${height}" rx="8"/>
${text(24, 32, title, 'class="title"')}
${parts.join('\n')}
</svg>
`;

interface Scale {
  readonly ticks: readonly number[];
  at(value: number): number;
}

/** A logarithmic axis from one pixel to another, between the powers of ten around the values. */
function logScale(values: readonly number[], from: number, to: number): Scale {
  const least = Math.floor(Math.log10(Math.min(...values)));
  const most = Math.max(Math.ceil(Math.log10(Math.max(...values))), least + 1);
  return {
    ticks: Array.from({ length: most - least + 1 }, (_, index) => 10 ** (least + index))
      .flatMap((tick) => (tick < 10 ** most ? [tick, tick * 2, tick * 5] : [tick])),
    at: (value) => from + ((Math.log10(value) - least) / (most - least)) * (to - from),
  };
}

const INGEST = { width: 820, height: 510, left: 70, right: 776, top: 56, bottom: 350 };
/** The share of requests that are slower, in powers of ten: to the 99.99th percentile. */
const NINES = 4;
const POINTS = 120;

/** How late the slowest share of the requests was: percentiles, spread by their distance to 100 %. Undefined without data. */
export function drawIngest(runs: readonly Run[]): string | undefined {
  const series = Object.values(INGEST_RUNS).map((name, index) => {
    const found = runs.filter((run) => run.name === name);
    return {
      name: `${name}, over ${show(found[0]?.rows ?? 0)} rows`, index,
      latencies: found.flatMap(({ result }) => result.latencies).toSorted((a, b) => a - b),
    };
  }).filter(({ latencies }) => latencies.length > 0);
  if (series.length === 0) return undefined;
  const { width, height, left, right, top, bottom } = INGEST;
  const shareAt = (nines: number) => 1 - 10 ** -nines;
  const x = (nines: number) => left + (nines / NINES) * (right - left);
  const shown = series.flatMap(({ latencies }) => [percentile(latencies, 0.01), percentile(latencies, shareAt(NINES))]);
  const y = logScale(shown, bottom, top);
  const curves = series.map(({ latencies, index }) => {
    const points = Array.from({ length: POINTS + 1 }, (_, point) => {
      const nines = (point / POINTS) * NINES;
      return `${round(x(nines))},${round(y.at(percentile(latencies, Math.max(0.01, shareAt(nines)))))}`;
    });
    return `<polyline class="line stroke-${index}" points="${points.join(' ')}"/>`;
  });
  return picture(width, height, 'POST /webhook: time to a durable 200', [
    ...y.ticks.flatMap((ms) => [
      line(left, y.at(ms), right, y.at(ms), 'grid'), text(left - 8, y.at(ms) + 4, `${show(ms)} ms`, 'text-anchor="end"'),
    ]),
    ...[0, Math.log10(2), 1, 2, 3, 4].flatMap((nines) => [
      line(x(nines), top, x(nines), bottom, 'grid'),
      text(x(nines), bottom + 20, nines === 0 ? 'p1' : `p${round(shareAt(nines) * 10_000) / 100}`, 'text-anchor="middle"'),
    ]),
    text((left + right) / 2, bottom + 44, 'percentile of the requests', 'text-anchor="middle"'),
    ...curves,
    ...series.flatMap(({ name, index }, place) => {
      const legendY = bottom + 76 + place * 22;
      return [line(left, legendY, left + 28, legendY, `line stroke-${index}`), text(left + 38, legendY + 4, name)];
    }),
  ]);
}

const READS = { width: 820, left: 190, right: 780, top: 96, rowHeight: 50 };

/** From the median to the 99th percentile of each kind of read, over the small table and the large one. Undefined without data. */
export function drawReads(runs: readonly Run[], { rows, smallRows }: Options): string | undefined {
  const at = (kind: ReadKind, size: number, share: number) =>
    median(runs.filter((run) => run.name === kind.name && run.rows === size).map(({ result }) => latencyAt(result, share)));
  const bars = READ_KINDS.flatMap((kind, place) => [smallRows, rows].map((size, index) =>
    ({ place, index, p50: at(kind, size, 0.5), p99: at(kind, size, 0.99) }))).filter(({ p50 }) => Number.isFinite(p50));
  if (bars.length === 0) return undefined;
  const { width, left, right, top, rowHeight } = READS;
  const bottom = top + READ_KINDS.length * rowHeight;
  const targets = READ_KINDS.map(({ most }) => most ?? 1);
  const x = logScale([...bars.flatMap(({ p50, p99 }) => [p50, p99]), ...targets].filter(Number.isFinite), left, right);
  const middleOf = (place: number) => top + (place + 0.5) * rowHeight;
  const dot = (ms: number, y: number, style: string) => `<circle cx="${round(x.at(ms))}" cy="${y}" r="5" class="${style}"/>`;
  const legendOf = (words: string, place: number, sign: string) => [sign, text(left + place + 14, 66, words)];
  return picture(width, bottom + 64, 'Reads while messages come in at half the maximum', [
    ...x.ticks.flatMap((ms) => [
      line(x.at(ms), top, x.at(ms), bottom, 'grid'), text(x.at(ms), bottom + 20, show(ms), 'text-anchor="middle"'),
    ]),
    text((left + right) / 2, bottom + 44, 'time to the answer, ms: median ○, 99th percentile ●', 'text-anchor="middle"'),
    ...[smallRows, rows].flatMap((size, index) =>
      legendOf(`${show(size)} rows`, index * 150, `<circle cx="${left + index * 150}" cy="62" r="5" class="fill-${index}"/>`)),
    ...legendOf('target for the 99th percentile', 300, line(left + 300, 54, left + 300, 70, 'target')),
    ...READ_KINDS.flatMap(({ name, most }, place) => [
      text(left - 16, middleOf(place) + 4, name, 'text-anchor="end"'),
      ...(most === undefined ? [] : [line(x.at(most), middleOf(place) - 18, x.at(most), middleOf(place) + 18, 'target')]),
    ]),
    ...bars.flatMap(({ place, index, p50, p99 }) => {
      const y = middleOf(place) + (index === 0 ? -9 : 9);
      const endless = !Number.isFinite(p99);
      return [
        line(x.at(p50), y, endless ? right : x.at(p99), y, `line stroke-${index}`), dot(p50, y, `hollow stroke-${index}`),
        endless ? text(right + 8, y + 5, '∞') : dot(p99, y, `fill-${index}`),
      ];
    }),
  ]);
}

const YEAR = { width: 820, height: 400, left: 80, right: 790, top: 64, bottom: 330 };
const YEAR_TICKS = 5;
const MONTH_DAYS = 30;

/** How large the files are at the end of each day. Undefined without data. */
export function drawYear(sizes: readonly DaySizes[]): string | undefined {
  if (sizes.length === 0) return undefined;
  const { width, height, left, right, top, bottom } = YEAR;
  const series = [
    { name: 'database', bytes: sizes.map(({ database }) => database) }, { name: 'read index', bytes: sizes.map(({ index }) => index) },
    { name: 'their logs', bytes: sizes.map(({ logs }) => logs) },
  ];
  const highest = Math.ceil(Math.max(...series.flatMap(({ bytes }) => bytes)) / 1e6 / YEAR_TICKS) * YEAR_TICKS;
  const x = (day: number) => left + (day / sizes.length) * (right - left);
  const y = (megabytes: number) => bottom - (megabytes / highest) * (bottom - top);
  const months = Array.from({ length: Math.floor(sizes.length / MONTH_DAYS) + 1 }, (_, month) => month * MONTH_DAYS);
  return picture(width, height, 'A year of messages that are kept for a month', [
    ...Array.from({ length: YEAR_TICKS + 1 }, (_, tick) => (tick / YEAR_TICKS) * highest).flatMap((megabytes) => [
      line(left, y(megabytes), right, y(megabytes), 'grid'), text(left - 8, y(megabytes) + 4, `${show(megabytes)} MB`, 'text-anchor="end"'),
    ]),
    ...months.flatMap((day) => [line(x(day), top, x(day), bottom, 'grid'), text(x(day), bottom + 20, String(day), 'text-anchor="middle"')]),
    text((left + right) / 2, bottom + 44, 'days', 'text-anchor="middle"'),
    ...series.flatMap(({ name, bytes }, index) => [
      `<polyline class="line stroke-${index}" points="${bytes.map((size, day) => `${round(x(day + 1))},${round(y(size / 1e6))}`).join(' ')}"/>`,
      line(left + index * 150, 48, left + index * 150 + 28, 48, `line stroke-${index}`), text(left + index * 150 + 36, 52, name),
    ]),
  ]);
}
