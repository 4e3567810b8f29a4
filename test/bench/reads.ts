/** What reads cost while messages come in at half the maximum: each kind in turn, over a small table and a large one. */
import { checkAnswers } from './answers.ts';
import { provideDatabase } from './databases.ts';
import type { Result } from './load-generator.ts';
import { get, runLoad, startLoad, startService } from './processes.ts';
import { drawCodes, READ_KINDS, type ReadKind, TARGETS } from './read-kinds.ts';
import { maximumRate, openLoop, repeat, WARM_UP_SECONDS } from './rounds.ts';
import { inScope } from './scope.ts';
import {
  atLeast, below, type Bench, exactly, type Figure, figure, INGEST_RUNS, latencyAt, median, memoryFigure, notAccepted, perSecond, show,
  type Stage,
} from './stage.ts';

/** Each takes minutes, as every kind has a service and a database of its own: the messages of the others would make a small table large. */
const MOST_ROUNDS = 3;
const CONNECTIONS = 4;
/** What does not grow with the table still varies from run to run. */
const MOST_GROWTH = 1.5;
/** Of the ingest, so that the reads are all within it. */
const EXTRA_SECONDS = 1;

interface Measured {
  readonly rows: number;
  /** Null: ingest alone. */
  readonly kind: ReadKind | null;
  readonly ingest: Result;
  readonly reads: Result | null;
  readonly peakMegabytes: number;
  readonly differences: readonly string[];
}

export const reads: Stage = {
  name: 'reads',
  async run(bench) {
    const { rows, smallRows, rounds } = bench.options;
    const rate = (await maximumRate(bench)) / 2;
    const measured = (await repeat(bench, async () => {
      const round: Measured[] = [];
      for (const size of [smallRows, rows]) {
        for (const kind of [null, ...READ_KINDS]) round.push(await measure(bench, size, kind, rate));
      }
      return round;
    }, (round) => `${round.length} runs`, Math.min(rounds, MOST_ROUNDS))).flat();
    for (const { rows: size, kind, ingest, reads: result } of measured) {
      const name = kind === null ? INGEST_RUNS.half : INGEST_RUNS.halfWithReads;
      if (size === rows) bench.runs.push({ name, rows: size, result: ingest });
      if (kind !== null && result !== null) bench.runs.push({ name: kind.name, rows: size, result });
    }
    const figures = [smallRows, rows].flatMap((size) => figuresOf(size, measured.filter((one) => one.rows === size)));
    return [...figures, growth(bench, measured)];
  },
};

async function measure(bench: Bench, rows: number, kind: ReadKind | null, rate: number): Promise<Measured> {
  return inScope(async (scope) => {
    const path = await provideDatabase(scope, bench, rows);
    const codes = drawCodes(path, rows);
    const service = await startService(scope, path);
    const span: { first_message_ts: string; last_message_ts: string } = JSON.parse((await get(`${service.url}/stats`)).body);
    const stored = { codes, firstMs: Date.parse(span.first_message_ts), lastMs: Date.parse(span.last_message_ts) };
    const { seconds } = bench.options;
    const readFor = (duration: number, { perSecond: readsPerSecond, target }: ReadKind) => runLoad(scope, {
      port: service.port, connections: CONNECTIONS, seconds: duration, perSecond: readsPerSecond,
      send: { targets: Array.from({ length: TARGETS }, () => target(stored)) },
    });
    const warming = runLoad(scope, openLoop(service.port, rate, WARM_UP_SECONDS));
    if (kind !== null) await readFor(WARM_UP_SECONDS, kind);
    await warming;
    const load = startLoad(scope, openLoop(service.port, rate, seconds + EXTRA_SECONDS));
    await load.started;
    const result = kind === null ? null : await readFor(seconds, kind);
    const ingest = await load.result;
    const p99 = (of: Result) => `p99 ${show(latencyAt(of, 0.99))} ms`;
    bench.progress(`${show(rows)} rows, ${kind === null || result === null ? 'no reads' : `${kind.name}: ${p99(result)}`}, ` +
      `ingest ${show(perSecond(ingest))}/s, ${p99(ingest)}`);
    const peakMegabytes = service.peakMegabytes();
    const differences = kind === null ? await checkAnswers(service.url, path, (stored.firstMs + stored.lastMs) / 2) : [];
    await service.end('SIGTERM');
    return { rows, kind, ingest, reads: result, peakMegabytes, differences };
  });
}

function figuresOf(rows: number, measured: readonly Measured[]): Figure[] {
  const size = `${show(rows)} rows`;
  const alone = measured.filter(({ kind }) => kind === null);
  const shares = READ_KINDS.map(({ name }) => {
    const together = measured.filter(({ kind }) => kind?.name === name);
    const ratios = (of: (result: Result) => number) =>
      together.map(({ ingest }, round) => of(ingest) / of(alone[round]?.ingest ?? ingest));
    return { name, rates: ratios(perSecond).map((ratio) => ratio * 100), p99s: ratios((result) => latencyAt(result, 0.99)) };
  });
  const [slowest] = shares.toSorted((a, b) => median(a.rates) - median(b.rates));
  const [latest] = shares.toSorted((a, b) => median(b.p99s) - median(a.p99s));
  // A search for less than three characters may be refused.
  const results = measured.flatMap(({ kind, ingest, reads: result }) =>
    (result === null || kind?.most === undefined ? [ingest] : [ingest, result]));
  return [
    figure(`${size}: ingest alone`, alone.map(({ ingest }) => perSecond(ingest)), '/s'),
    figure(`${size}: ingest alone, p99`, alone.map(({ ingest }) => latencyAt(ingest, 0.99)), ' ms'),
    ...READ_KINDS.map((kind) => readFigure(size, kind, measured)),
    figure(`${size}: ingest, share kept, least with: ${slowest?.name}`, slowest?.rates ?? [], ' %', atLeast(80, ' %')),
    figure(`${size}: ingest, times its p99 alone, most with: ${latest?.name}`, latest?.p99s ?? [], '', below(2, '')),
    exactly(`${size}: answers other than 200, or none`, results.reduce((sum, result) => sum + notAccepted(result), 0), 0),
    memoryFigure(size, measured.map(({ peakMegabytes }) => peakMegabytes)),
    exactly(`${size}: answers that differ from SQL's`, measured.flatMap(({ differences }) => differences).join(', ') || 'none', 'none'),
  ];
}

function readFigure(size: string, { name, most, aim }: ReadKind, measured: readonly Measured[]): Figure {
  const results = measured.flatMap(({ kind, reads: result }) => (kind?.name === name && result !== null ? [result] : []));
  const p50 = show(median(results.map((result) => latencyAt(result, 0.5))));
  const max = show(Math.max(...results.map((result) => latencyAt(result, 1))));
  const p99s = results.map((result) => latencyAt(result, 0.99));
  return figure(`${size}: ${name}, p99 (p50 ${p50}, max ${max} ms)`, p99s, ' ms', most === undefined ? undefined : below(most, ' ms', aim));
}

/** What GET /stats costs in the large table for each millisecond in the small one. */
function growth({ options: { smallRows, rows } }: Bench, measured: readonly Measured[]): Figure {
  const [of] = READ_KINDS;
  const medians = (size: number) => measured.flatMap(({ rows: counted, kind, reads: result }) =>
    (counted === size && kind === of && result !== null ? [latencyAt(result, 0.5)] : []));
  const small = medians(smallRows);
  const ratios = medians(rows).map((large, round) => large / (small[round] ?? NaN));
  return figure(`${of?.name}: p50 at ${show(rows)} rows, times that at ${show(smallRows)}`, ratios, '', below(MOST_GROWTH, ''));
}
