/**
 * The Prometheus text format 0.0.4 (https://prometheus.io/docs/instrumenting/exposition_formats/): counters, gauges and
 * histograms whose labels come from closed sets. Knows no metric by name; those are in `metrics.ts`.
 */

export const CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/** Label names and values of one time series, in the order they are written. */
type Labels = Readonly<Record<string, string>>;

export interface Counter {
  increment(by?: number): void;
}

export interface Histogram {
  observe(value: number): void;
}

/** One series for each combination of label values that has been asked for. */
export interface Family<Series> {
  with(...values: string[]): Series;
}

export interface Registry {
  /** A counter that starts at 0. Its name ends in `_total`. */
  counter(name: string, help: string): Counter;
  /** The series of the label's `known` values are shown from the start, at 0. */
  counters(name: string, help: string, labelNames: readonly string[], known?: readonly string[]): Family<Counter>;
  /** Cumulative buckets with the upper bounds `bounds`, ascending; `+Inf` is added here. */
  histograms(name: string, help: string, labelNames: readonly string[], bounds: readonly number[]): Family<Histogram>;
  histogram(name: string, help: string, bounds: readonly number[]): Histogram;
  /** A value read when it is asked for. Not shown while `read` returns undefined. */
  gauge(name: string, help: string, read: () => number | undefined, labels?: Labels): void;
  /** One for each of the label's values. */
  gauges<Value extends string>(name: string, help: string, label: string, values: readonly Value[], read: (value: Value) => number): void;
  /** A counter that something else keeps, read when it is asked for. Not shown while `read` returns undefined. */
  counterOf(name: string, help: string, read: () => number | undefined): void;
  /** All metrics in the text format. */
  render(): string;
}

type Kind = 'counter' | 'gauge' | 'histogram';

export function createRegistry(): Registry {
  const metrics: (() => string)[] = [];

  function add(kind: Kind, name: string, help: string, samples: () => string[]): void {
    const head = `# HELP ${name} ${escapeHelp(help)}\n# TYPE ${name} ${kind}\n`;
    metrics.push(() => {
      const lines = samples();
      return lines.length === 0 ? '' : head + lines.map((line) => `${line}\n`).join('');
    });
  }

  function addFamily<Series extends Rendered>(
    kind: Kind, name: string, help: string, labelNames: readonly string[], create: (name: string, labels: Labels) => Series,
  ): Family<Series> {
    const all: Series[] = [];
    // A map for each label, so that no value can pose as two.
    const root: Branch<Series> = { series: undefined, next: new Map() };
    add(kind, name, help, () => all.flatMap((one) => one.samples()));
    return {
      with(...values) {
        let branch = root;
        for (const value of values) {
          let next = branch.next.get(value);
          if (next === undefined) branch.next.set(value, next = { series: undefined, next: new Map() });
          branch = next;
        }
        if (branch.series !== undefined) return branch.series;
        const created = create(name, Object.fromEntries(labelNames.map((label, index) => [label, values[index] ?? ''])));
        all.push(created);
        return branch.series = created;
      },
    };
  }

  const counters: Registry['counters'] = (name, help, labelNames, known = []) => {
    const family = addFamily('counter', name, help, labelNames, createCounter);
    for (const value of known) family.with(value);
    return family;
  };
  const histograms: Registry['histograms'] = (name, help, labelNames, bounds) =>
    addFamily('histogram', name, help, labelNames, (family, labels) => createHistogram(family, labels, bounds));
  const readAtScrape = (kind: Kind): Registry['gauge'] => (name, help, read, labels = {}) =>
    add(kind, name, help, () => {
      const value = read();
      return value === undefined ? [] : [sample(name, labels, value)];
    });

  return {
    counters,
    counter: (name, help) => counters(name, help, []).with(),
    histograms,
    histogram: (name, help, bounds) => histograms(name, help, [], bounds).with(),
    gauge: readAtScrape('gauge'),
    gauges: (name, help, label, values, read) =>
      add('gauge', name, help, () => values.map((value) => sample(name, { [label]: value }, read(value)))),
    counterOf: readAtScrape('counter'),
    render: () => metrics.map((metric) => metric()).join(''),
  };
}

interface Branch<Series> {
  series: Series | undefined;
  readonly next: Map<string, Branch<Series>>;
}

interface Rendered {
  samples(): string[];
}

function createCounter(name: string, labels: Labels): Counter & Rendered {
  let total = 0;
  return {
    increment(by = 1) { total += by; },
    samples: () => [sample(name, labels, total)],
  };
}

function createHistogram(name: string, labels: Labels, bounds: readonly number[]): Histogram & Rendered {
  const perBucket = new Array<number>(bounds.length + 1).fill(0);
  let sum = 0;
  return {
    observe(value) {
      const found = bounds.findIndex((bound) => value <= bound);
      const bucket = found === -1 ? bounds.length : found;
      perBucket[bucket] = (perBucket[bucket] ?? 0) + 1;
      sum += value;
    },
    samples() {
      let count = 0;
      const buckets = perBucket.map((observed, index) => {
        count += observed;
        return sample(`${name}_bucket`, { ...labels, le: formatNumber(bounds[index] ?? Infinity) }, count);
      });
      return [...buckets, sample(`${name}_sum`, labels, sum), sample(`${name}_count`, labels, count)];
    },
  };
}

function sample(name: string, labels: Labels, value: number): string {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escapeLabel(text)}"`);
  return `${name}${pairs.length === 0 ? '' : `{${pairs.join(',')}}`} ${formatNumber(value)}`;
}

function formatNumber(value: number): string {
  if (value === Infinity) return '+Inf';
  return value === -Infinity ? '-Inf' : String(value);
}

function escapeHelp(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
}

function escapeLabel(text: string): string {
  return escapeHelp(text).replaceAll('"', '\\"');
}
