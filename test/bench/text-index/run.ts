/** Compares the text index with SQLite's FTS5 in its place (`fts5.ts`) and with none: prints a table. See `--help`. */
import { parseArgs } from 'node:util';
import { prepareOutput, provideDatabase } from '../databases.ts';
import type { Result } from '../load-generator.ts';
import { describeMachine } from '../machine.ts';
import { drawCodes } from '../read-kinds.ts';
import { endAllScopes, inScope } from '../scope.ts';
import { type Bench, latencyAt, median, perSecond, show } from '../stage.ts';
import { type Made, makeIndex } from './making.ts';
import { type Ingest, maximumRate, measureRound, type Round, SEARCHES, targetsOf } from './round.ts';
import { NONE, OURS, type Variant, VARIANTS } from './variants.ts';

const HELP = `scripts/node test/bench/text-index/run.ts, after \`make build\`, with

  --rows N         messages in the table, default 1000000
  --rounds N       default 3; in each, every variant has its turn
  --seconds N      length of each measurement, default 4
  --variants LIST  with commas, of: ${VARIANTS.map(({ name }) => name).join(', ')}; default: all

It takes half a minute for each variant and round, and a minute or two for each variant and million rows.
`;

interface Measured {
  readonly variant: Variant;
  readonly path: string;
  readonly made: Made;
  readonly rounds: Round[];
}

type Row = readonly [what: string, value: (measured: Measured) => number | string];

/** The table: a row for each figure, a column for each variant. */
function rowsOf(rows: number, all: readonly Measured[]): Row[] {
  const [none, ours] = [NONE, OURS].map((wanted) => all.find(({ variant }) => variant === wanted));
  const of = ({ rounds }: Measured, value: (round: Round) => number) => median(rounds.map(value));
  const shareOf = (base: Measured | undefined, value: (round: Round) => number) => (measured: Measured) =>
    (base === undefined ? NaN : median(measured.rounds.map((round, at) => (100 * value(round)) / value(base.rounds[at] ?? round))));
  const extra = (value: (measured: Measured) => number) => (measured: Measured) =>
    value(measured) - (none === undefined ? NaN : value(none));
  const rate = (pick: (round: Round) => Ingest) => (round: Round) => perSecond(pick(round).result);
  const full = rate((round) => round.full);
  const ingestRows = (name: string, pick: (round: Round) => Ingest | null): Row[] => [
    [`${name}: p50, p99 of acknowledgements, ms`, (measured) => [0.5, 0.99].map((share) => show(of(measured, (round) => {
      const ingest = pick(round);
      return ingest === null ? NaN : latencyAt(ingest.result, share);
    }))).join(', ')],
    ...(['all', 'writer', 'indexer'] as const).map((part): Row => [
      `${name}: processor, ${part === 'all' ? 'all of the process' : `${part} thread`}, µs a message`,
      (measured) => of(measured, (round) => pick(round)?.processor[part] ?? NaN),
    ]),
  ];
  const searchRows = (where: string, pick: (round: Round) => readonly Result[]) => SEARCHES.map((name, at): Row => [
    `${name}, ${where}: p50, p99, ms`,
    (measured) => [0.5, 0.99].map((share) => show(of(measured, (round) => {
      const result = pick(round)[at];
      return result === undefined ? NaN : latencyAt(result, share);
    }))).join(', '),
  ]);
  return [
    ['made from nothing, s of processor a million', extra(({ made }) => (made.processorSeconds * 1e6) / rows)],
    ['made from nothing, s on the clock a million', extra(({ made }) => (made.seconds * 1e6) / rows)],
    ['merged at rest after that, s a million', ({ made }) => (made.mergeSeconds * 1e6) / rows],
    ['bytes a message', extra(({ made }) => made.bytes / rows)],
    ['bytes a message with free pages of the file', extra(({ made }) => made.fileBytes / rows)],
    ['ingest at full rate, messages/s', (measured) => of(measured, full)],
    ['… % of without', shareOf(none, full)],
    ['… % of ours', shareOf(ours, full)],
    ['… messages behind at the end', (measured) => of(measured, (round) => round.full.lag)],
    ...ingestRows('at full rate', (round) => round.full),
    ['ingest at half, messages/s', (measured) => of(measured, rate((round) => round.half))],
    ...ingestRows('at half', (round) => round.half),
    ...ingestRows('at half, beside searches', (round) => round.halfWithSearches),
    ...searchRows('alone', (round) => round.alone),
    ...searchRows('beside ingest', (round) => round.besideIngest),
  ];
}

function describe(round: Round | undefined): string {
  if (round === undefined) return '';
  const { full, half } = round;
  const at = ({ result, processor }: Ingest) => `${show(perSecond(result))}/s at ${show(processor.all)} µs`;
  return `full ${at(full)}, half ${at(half)}`;
}

function printTable(rows: number, all: readonly Measured[]): void {
  console.log(`| ${show(rows)} rows | ${all.map(({ variant }) => variant.name).join(' | ')} |`);
  console.log(`| --- |${' ---: |'.repeat(all.length)}`);
  for (const [what, value] of rowsOf(rows, all)) {
    console.log(`| ${what} | ${all.map((measured) => show(value(measured))).join(' | ')} |`);
  }
}

function readArguments() {
  const { values } = parseArgs({
    options: {
      help: { type: 'boolean', default: false },
      rows: { type: 'string', default: '1000000' },
      rounds: { type: 'string', default: '3' },
      seconds: { type: 'string', default: '4' },
      variants: { type: 'string', default: VARIANTS.map(({ name }) => name).join() },
    },
  });
  const names = values.variants.split(',');
  const unknown = names.filter((name) => !VARIANTS.some((variant) => variant.name === name));
  if (unknown.length > 0) throw new Error(`no variant: ${unknown.join(', ')}`);
  const [rows, rounds, seconds] = [values.rows, values.rounds, values.seconds].map(Number);
  if (!rows || !rounds || !seconds) throw new Error('--rows, --rounds and --seconds are numbers, at least 1');
  const variants = VARIANTS.filter((variant) => variant === NONE || variant === OURS || names.includes(variant.name));
  return { help: values.help, rows, rounds, seconds, variants };
}

async function compare({ rows, rounds, seconds, variants }: ReturnType<typeof readArguments>): Promise<void> {
  prepareOutput();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void endAllScopes().finally(() => process.exit(1)));
  for (const [name, value] of Object.entries(await describeMachine())) console.log(`${name}: ${value}`);
  const bench: Bench = {
    options: { rows, smallRows: rows, seconds, rounds, peerFolder: undefined }, progress: (text) => console.log(`  ${text}`), runs: [], year: [], maxima: new Map(),
  };
  await inScope(async (scope) => {
    const all: Measured[] = [];
    const base = await provideDatabase(scope, bench, rows);
    const codes = drawCodes(base, rows);
    const asked = targetsOf(codes).flatMap((targets) => targets.slice(0, 1));
    for (const variant of variants) {
      const path = variant === NONE ? base : await provideDatabase(scope, bench, rows);
      const made = await makeIndex(path, variant, variant === NONE ? [] : asked);
      bench.progress(`${variant.name}: made in ${show(made.seconds)} s, ${show(made.processorSeconds)} s of processor`);
      all.push({ variant, path, made, rounds: [] });
      made.answers.forEach((answer, at) => {
        const own = all[1]?.made.answers[at];
        if (answer === null) bench.progress(`${variant.name}: ${SEARCHES[at]}: no answer in time`);
        else if (answer !== own && own !== null) throw new Error(`${variant.name} answers unlike ${OURS.name}: ${SEARCHES[at]}`);
      });
    }
    const half = (await maximumRate(base, seconds)) / 2;
    bench.progress(`half of the maximum is ${show(half)}/s`);
    for (let number = 1; number <= rounds; number += 1) {
      for (const { variant, path, rounds: measured } of all) {
        measured.push(await measureRound({ path, variant, codes, seconds, half }));
        bench.progress(`round ${number} of ${rounds}: ${variant.name}, ${describe(measured.at(-1))}`);
      }
    }
    printTable(rows, all);
  });
}

const wanted = readArguments();
if (wanted.help) console.log(HELP);
else await compare(wanted);
