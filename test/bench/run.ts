/** `make bench`: measures how fast the service is on this machine; a progress line for each step, a table at the end. */
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs, styleText } from 'node:util';
import { isInstalled, NOT_INSTALLED } from '../support/postgres.ts';
import { drawIngest, drawReads, drawYear } from './charts.ts';
import { OUTPUT, prepareOutput } from './databases.ts';
import { indexMaking } from './index-making.ts';
import { ingest, openLoopAtAFifth, randomIds } from './ingest.ts';
import { backups, expiring } from './life.ts';
import { describeMachine } from './machine.ts';
import { paging } from './paging.ts';
import { postgresVersion } from './postgres/clusters.ts';
import * as postgresIngest from './postgres/ingest.ts';
import { expiring as postgresExpiring } from './postgres/life.ts';
import { reads as postgresReads } from './postgres/reads.ts';
import { reads } from './reads.ts';
import { endAllScopes } from './scope.ts';
import { type Bench, type Figure, percentile, type Run, type Stage } from './stage.ts';
import { start } from './start.ts';
import { year } from './year.ts';

const STAGES = {
  sqlite: [ingest, openLoopAtAFifth, randomIds, start, indexMaking, reads, paging, backups, expiring, year],
  postgres: [
    postgresIngest.ingest, postgresIngest.twoReceivers, postgresIngest.openLoopAtAFifth, postgresIngest.peer, postgresReads, postgresExpiring,
  ],
} as const satisfies Record<string, readonly Stage[]>;
type StorageName = keyof typeof STAGES;
/** The results of one storage don't replace those of the other. */
const RESULTS: Record<StorageName, string> = { sqlite: 'results.json', postgres: 'results-postgres.json' };
const namesOf = (storage: StorageName) => STAGES[storage].map(({ name }) => name).join(', ');
const KEPT_LATENCIES = 2000;

const HELP = `make bench ARGS="…", where the arguments are of

  --storage NAME  sqlite (the default), or postgres: a throw-away server, with and without a standby, beside the embedded storage
  --rows N        messages in the large table, default 4000000
  --small-rows N  messages in the small table, default a tenth of those
  --seconds N     length of a measured round, default 8
  --rounds N      default 5
  --only WORD     the stages whose name includes it, of: ${namesOf('sqlite')};
                  with postgres: ${namesOf('postgres')}
  --peer FOLDER   with postgres, where fastify-pg.mjs is, a receiver to compare with, and what it has to import. It takes
                  DATABASE_URL, WEBHOOK_SECRET and PORT, and inserts a row a request into a table peer_messages

The results go into .bench/, and so do the generated databases of SQLite, which the next run takes again: remove them when the
schema has changed. The exit status is 1 where a target is missed.
`;

interface Wanted {
  readonly help: boolean;
  readonly storage: StorageName;
  readonly stages: readonly Stage[];
  readonly options: Bench['options'];
}

function readArguments(): Wanted {
  const { values } = parseArgs({
    options: {
      help: { type: 'boolean', default: false },
      rows: { type: 'string', default: '4000000' },
      'small-rows': { type: 'string' },
      seconds: { type: 'string', default: '8' },
      rounds: { type: 'string', default: '5' },
      only: { type: 'string', default: '' },
      storage: { type: 'string', default: 'sqlite' },
      peer: { type: 'string' },
    },
  });
  const wholeNumber = (name: string, text: string): number => {
    if (!/^[1-9][0-9]{0,8}$/.test(text)) throw new Error(`--${name} must be a whole number, at least 1`);
    return Number(text);
  };
  const rows = wholeNumber('rows', values.rows);
  const { storage } = values;
  if (storage !== 'sqlite' && storage !== 'postgres') throw new Error('--storage must be sqlite or postgres');
  if (storage === 'postgres' && !isInstalled) throw new Error(NOT_INSTALLED);
  return {
    help: values.help,
    storage,
    stages: STAGES[storage].filter(({ name }) => name.includes(values.only)),
    options: {
      rows,
      smallRows: values['small-rows'] === undefined ? Math.ceil(rows / 10) : wholeNumber('small-rows', values['small-rows']),
      seconds: wholeNumber('seconds', values.seconds),
      rounds: wholeNumber('rounds', values.rounds),
      peerFolder: values.peer === undefined ? undefined : resolve(values.peer),
    },
  };
}

async function runStage(stage: Stage, bench: Bench): Promise<readonly Figure[]> {
  console.log(styleText('bold', stage.name));
  const begin = performance.now();
  try {
    const figures = await stage.run(bench);
    bench.progress(`took ${Math.round((performance.now() - begin) / 1000)} s`);
    return figures;
  } catch (error) {
    const measured = error instanceof Error ? error.message : String(error);
    return [{ what: `${stage.name}: ended early`, measured, spread: '', target: 'all of it', ok: false }];
  }
}

function printTable(figures: readonly Figure[]): void {
  console.log('| what | measured (median) | min to max | target | ok |\n| --- | --- | --- | --- | --- |');
  for (const { what, measured, spread, target, ok } of figures) {
    console.log(`| ${what} | ${measured} | ${spread} | ${target} | ${target === '' ? '' : ok ? 'yes' : 'NO'} |`);
  }
}

/** Latencies as so many percentiles at most, to the microsecond. */
function thin({ name, rows, result }: Run) {
  const { latencies } = result;
  const kept = Math.min(latencies.length, KEPT_LATENCIES);
  const percentiles = Array.from({ length: kept }, (_, index) => Math.round(percentile(latencies, (index + 1) / kept) * 1000) / 1000);
  return { name, rows, ...result, latencies: percentiles };
}

async function benchmark({ storage, stages, options }: Wanted): Promise<void> {
  prepareOutput();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void endAllScopes().finally(() => process.exit(1)));
  const machine = { ...await describeMachine(), ...(storage === 'postgres' ? { database: postgresVersion() } : {}) };
  for (const [name, value] of Object.entries(machine)) console.log(`${name}: ${value}`);
  const bench: Bench = { options, progress: (text) => console.log(`  ${text}`), runs: [], year: [], maxima: new Map() };
  const figures: Figure[] = [];
  for (const stage of stages) figures.push(...await runStage(stage, bench));

  printTable(figures);
  const results = JSON.stringify({ at: new Date().toISOString(), machine, options, figures, runs: bench.runs.map(thin), year: bench.year });
  const files = {
    [RESULTS[storage]]: results, 'latency.svg': drawIngest(bench.runs), 'reads.svg': drawReads(bench.runs, options), 'year.svg': drawYear(bench.year),
  };
  for (const [name, text] of Object.entries(files)) if (text !== undefined) writeFileSync(join(OUTPUT, name), text);
  const missed = figures.filter(({ ok }) => !ok).length;
  const targets = figures.filter(({ target }) => target !== '').length;
  console.log(`\n${missed} of ${targets} targets missed; all of it, and the charts, in .bench/`);
  process.exitCode = missed === 0 ? 0 : 1;
}

const wanted = readArguments();
if (wanted.help) console.log(HELP);
else await benchmark(wanted);
