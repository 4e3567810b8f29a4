/** What the stages of the benchmark share: options, figures and their bounds, and what is kept for the charts. */
import type { Result } from './load-generator.ts';

export interface Options {
  readonly rows: number;
  readonly smallRows: number;
  /** Length of one measured round. */
  readonly seconds: number;
  readonly rounds: number;
  /** Of another receiver of the same messages; undefined where there is none to compare with. */
  readonly peerFolder: string | undefined;
}

/** One line of the table. */
export interface Figure {
  readonly what: string;
  /** The median of the rounds, with its unit. */
  readonly measured: string;
  /** The least and the most of the rounds. */
  readonly spread: string;
  readonly target: string;
  readonly ok: boolean;
}

/** One run of a load generator that the charts and the results show; those of a name and a table size belong together. */
export interface Run {
  readonly name: string;
  /** In the table when it began. */
  readonly rows: number;
  readonly result: Result;
}

/** Of the files of a database at the end of a simulated day, in bytes. */
export interface DaySizes {
  readonly database: number;
  readonly index: number;
  readonly logs: number;
}

export interface Bench {
  readonly options: Options;
  progress(text: string): void;
  readonly runs: Run[];
  /** Of a simulated year, a day each. */
  readonly year: DaySizes[];
  /** The most messages a second in a closed loop, by where they go, once that is known. */
  readonly maxima: Map<'embedded' | 'local' | 'replicated', number>;
}

/** The names of the runs whose latencies make the chart of ingest. */
export const INGEST_RUNS = {
  closedLoop: 'closed loop, 64 connections',
  fifth: 'open loop, a fifth of the maximum',
  half: 'open loop, half of the maximum',
  halfWithReads: 'open loop, half of the maximum, with reads',
};

export interface Stage {
  readonly name: string;
  run(bench: Bench): Promise<readonly Figure[]>;
}

export interface Bound {
  readonly text: string;
  holds(value: number): boolean;
}

const aiming = (unit: string, aim?: number) => (aim === undefined ? '' : ` (aim ${aim}${unit})`);

export const below = (bound: number, unit: string, aim?: number): Bound =>
  ({ text: `< ${bound}${unit}${aiming(unit, aim)}`, holds: (value) => value < bound });
export const atLeast = (bound: number, unit: string, aim?: number): Bound =>
  ({ text: `≥ ${bound}${unit}${aiming(unit, aim)}`, holds: (value) => value >= bound });

/** The median of the values, with their spread. Without a bound it is only reported. */
export function figure(what: string, values: readonly number[], unit: string, bound?: Bound): Figure {
  const measured = median(values);
  return {
    what, measured: show(measured) + unit,
    spread: values.length > 1 ? `${show(Math.min(...values))} to ${show(Math.max(...values))}${unit}` : '',
    target: bound?.text ?? '', ok: bound?.holds(measured) ?? true,
  };
}

const MOST_MEGABYTES = 300;

/** The peaks of resident memory, of which the highest counts. */
export function memoryFigure(what: string, peaksMegabytes: readonly number[]): Figure {
  const highest = Math.max(...peaksMegabytes);
  const ofRounds = figure(`${what}: highest resident memory`, peaksMegabytes, ' MB', below(MOST_MEGABYTES, ' MB'));
  return { ...ofRounds, measured: `${show(highest)} MB`, ok: highest < MOST_MEGABYTES };
}

export const exactly = (what: string, measured: string | number, wanted: string | number): Figure =>
  ({ what, measured: show(measured), spread: '', target: show(wanted), ok: measured === wanted });

/** Three digits, or all before the point. */
export function show(value: number | string): string {
  if (typeof value === 'string') return value;
  if (!Number.isFinite(value)) return value === Infinity ? '∞' : 'none';
  return value.toLocaleString('en', value >= 100 ? { maximumFractionDigits: 0 } : { maximumSignificantDigits: 3 });
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  return ((sorted[Math.ceil(middle) - 1] ?? NaN) + (sorted[Math.floor(middle)] ?? NaN)) / 2;
}

export const acceptedIn = ({ statuses }: Result) => statuses['200'] ?? 0;

export const perSecond = (result: Result) => acceptedIn(result) / result.seconds;

/** Requests that were refused, or not answered at all. */
export const notAccepted = (result: Result) => result.offered - acceptedIn(result);

/** The latency that a share of the requests did not exceed, in milliseconds. One that was not accepted counts as endless. */
export function latencyAt(result: Result, share: number): number {
  const shareOfAccepted = (share * result.offered) / acceptedIn(result);
  if (!(shareOfAccepted <= 1)) return Infinity;
  return percentile(result.latencies, shareOfAccepted);
}

/** By nearest rank, of ascending values. */
export function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? NaN;
}

/** Rounds of one load as if they were one. */
export function joined(results: readonly Result[]): Result {
  const sum = (of: (result: Result) => number) => results.reduce((total, result) => total + of(result), 0);
  return {
    event: 'result', offered: sum(({ offered }) => offered), seconds: sum(({ seconds }) => seconds),
    lateP99: Math.max(...results.map(({ lateP99 }) => lateP99)),
    statuses: { 200: sum(acceptedIn) }, latencies: results.flatMap(({ latencies }) => latencies).toSorted((a, b) => a - b),
  };
}
