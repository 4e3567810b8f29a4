/** What reads of a large table in PostgreSQL cost: each kind in turn, alone and while messages come in at a fifth of the maximum. */
import type { Result } from '../load-generator.ts';
import { get, runLoad, startLoad, startService } from '../processes.ts';
import { READ_KINDS, type ReadKind, sinceInstant, TARGETS } from '../read-kinds.ts';
import { openLoop, repeat, WARM_UP_SECONDS } from '../rounds.ts';
import { inScope } from '../scope.ts';
import { below, type Bench, exactly, type Figure, figure, latencyAt, memoryFigure, notAccepted, show, type Stage } from '../stage.ts';
import { codeIn, COMMON_WORD, random } from '../traffic.ts';
import { type Database, startCluster } from './clusters.ts';
import { fill } from './fill.ts';
import { maximumRate } from './receiving.ts';

const MOST_ROUNDS = 3;
const CONNECTIONS = 4;
/** Of the ingest, so that the reads are all within it. */
const EXTRA_SECONDS = 1;
/** For the p99, in milliseconds. */
const MOST_MS: Readonly<Record<string, number>> = { 'GET /stats': 15, 'first page': 15, 'q with one match': 50 };
const SITUATIONS = ['alone', 'beside ingest'] as const;

interface Measured {
  readonly kind: ReadKind;
  readonly situation: (typeof SITUATIONS)[number];
  readonly reads: Result;
  /** Null: none beside it. */
  readonly ingest: Result | null;
}

/** What is in the table, for the kinds of reads to aim at. */
async function lookAt({ sql }: Database, rows: number) {
  const ids = Array.from({ length: TARGETS }, () => 1 + Math.floor(random() * rows)).join(', ');
  const texts = await sql(`SELECT text FROM messages WHERE id IN (${ids})`);
  const [first = '', last = ''] = (await sql('SELECT min(ts), max(ts) FROM messages')).split('|');
  return { codes: texts.split('\n').map(codeIn), firstMs: Date.parse(first), lastMs: Date.parse(last) };
}

export const reads: Stage = {
  name: 'reads',
  run: (bench) => inScope(async (scope) => {
    const { rows, seconds, rounds } = bench.options;
    const cluster = await startCluster(scope, 'local');
    const rate = (await maximumRate(bench, cluster)) / 5;
    const database = await cluster.provideDatabase(scope);
    await fill(cluster, database, rows, bench.progress);
    const stored = await lookAt(database, rows);
    const service = await startService(scope, database.url);

    const readFor = (duration: number, { perSecond, target }: ReadKind) => runLoad(scope, {
      port: service.port, connections: CONNECTIONS, seconds: duration, perSecond,
      send: { targets: Array.from({ length: TARGETS }, () => target(stored)) },
    });
    async function measure(kind: ReadKind, situation: Measured['situation']): Promise<Measured> {
      await readFor(WARM_UP_SECONDS, kind);
      const load = situation === 'alone' ? null : startLoad(scope, openLoop(service.port, rate, seconds + EXTRA_SECONDS));
      await load?.started;
      const result = await readFor(seconds, kind);
      bench.progress(`${kind.name}, ${situation}: p99 ${show(latencyAt(result, 0.99))} ms`);
      return { kind, situation, reads: result, ingest: load === null ? null : await load.result };
    }
    const measured = (await repeat(bench, async () => {
      const round: Measured[] = [];
      for (const situation of SITUATIONS) for (const kind of READ_KINDS) round.push(await measure(kind, situation));
      return round;
    }, (round) => `${round.length} runs`, Math.min(rounds, MOST_ROUNDS))).flat();
    const differences = await checkAnswers(service.url, database, (stored.firstMs + stored.lastMs) / 2);
    const peakMegabytes = service.peakMegabytes();
    await service.end('SIGTERM');
    return [
      ...figuresOf(bench, measured, rate), memoryFigure(`${show(rows)} rows`, [peakMegabytes]),
      exactly(`${show(rows)} rows: answers that differ from SQL's`, differences.join(', ') || 'none', 'none'),
    ];
  }),
};

function figuresOf({ options, runs }: Bench, measured: readonly Measured[], rate: number): Figure[] {
  const size = `${show(options.rows)} rows`;
  const ingests = measured.flatMap(({ ingest }) => (ingest === null ? [] : [ingest]));
  // A search for less than three characters may be refused.
  const results = [...ingests, ...measured.flatMap(({ kind, reads: result }) => (kind.most === undefined ? [] : [result]))];
  return [
    ...SITUATIONS.flatMap((situation) => READ_KINDS.map((kind) => {
      const own = measured.flatMap((one) => (one.kind === kind && one.situation === situation ? [one.reads] : []));
      runs.push(...own.map((result) => ({ name: `PostgreSQL, ${situation}: ${kind.name}`, rows: options.rows, result })));
      return readFigure(`${size}, ${situation}: ${kind.name}`, own, MOST_MS[kind.name]);
    })),
    figure(`${size}: ingest beside reads, ${show(rate)}/s, p99`, ingests.map((result) => latencyAt(result, 0.99)), ' ms'),
    exactly(`${size}: answers other than 200, or none`, results.reduce((sum, result) => sum + notAccepted(result), 0), 0),
  ];
}

function readFigure(name: string, results: readonly Result[], most: number | undefined): Figure {
  const p99s = results.map((result) => latencyAt(result, 0.99));
  return figure(name, p99s, ' ms', most === undefined ? undefined : below(most, ' ms'));
}

/** Asks the service and PostgreSQL itself the same, and returns where they differ. Nothing may be written meanwhile. */
async function checkAnswers(url: string, { sql }: Database, sinceMs: number): Promise<string[]> {
  const totalOf = async (query: string) => {
    const page: { total: number } = JSON.parse((await get(`${url}/messages?${query}`)).body);
    return String(page.total);
  };
  // Texts of one form order as their instants do.
  const stats = await sql(`
    SELECT json_build_object('total_messages', count(*), 'senders_count', count(DISTINCT from_number), 'messages_per_sender', (
      SELECT json_agg(top) FROM (
        SELECT from_number AS "from", count(*) FROM messages GROUP BY from_number ORDER BY 2 DESC, 1 LIMIT 10) AS top
      ), 'first_message_ts', min(ts), 'last_message_ts', max(ts)) FROM messages`);
  const since = new Date(sinceMs).toISOString();
  const answers = {
    'GET /stats': (await get(`${url}/stats`)).body === JSON.stringify(JSON.parse(stats)),
    'total of since': await totalOf(sinceInstant(sinceMs)) === await sql(`SELECT count(*) FROM messages WHERE ts >= '${since}'`),
    'total of q': await totalOf(`q=${COMMON_WORD}`) === await sql(`SELECT count(*) FROM messages WHERE text LIKE '%${COMMON_WORD}%'`),
  };
  return Object.entries(answers).filter(([, same]) => !same).map(([name]) => name);
}
