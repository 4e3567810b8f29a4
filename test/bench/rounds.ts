/** One round of ingest, and what every stage that has rounds needs for them. */
import { SECRET } from '../support/messages.ts';
import type { Scope } from '../support/temporary.ts';
import { provideDatabase } from './databases.ts';
import type { Job, Messages, Result } from './load-generator.ts';
import { get, runLoad, type Server, startService } from './processes.ts';
import { inScope } from './scope.ts';
import { acceptedIn, type Bench, perSecond, show } from './stage.ts';

export const CONNECTIONS = 64;
export const WARM_UP_SECONDS = 2;
/** A round of a closed loop ends early where a service is faster than this. */
const MOST_PER_SECOND = 40_000;

export interface Round {
  readonly result: Result;
  readonly peakMegabytes: number;
  /** Messages acknowledged and not counted by GET /stats, or the other way round. */
  readonly miscounted: number;
  readonly droppedLogLines: number;
  /** Messages that the read index did not have at the end. */
  readonly indexLag: number;
}

export const closedLoop = (port: number, ids: Messages['ids'], seconds: number, connections = CONNECTIONS): Job =>
  ({ port, connections, seconds, send: { ids, secret: SECRET, most: MOST_PER_SECOND * seconds } });

export const openLoop = (port: number, ratePerSecond: number, seconds: number): Job =>
  ({ port, connections: CONNECTIONS, seconds, perSecond: ratePerSecond, send: { ids: 'sequential', secret: SECRET, most: 0 } });

export interface Sending {
  readonly ids: Messages['ids'];
  /** In the database before. */
  readonly rows: number;
  jobFor(port: number): Job;
}

/** Sends to a service of its own, over a database that a DATABASE_URL names. */
export async function measureService(scope: Scope, database: string, { ids, rows, jobFor }: Sending): Promise<Round> {
  const service = await startService(scope, database);
  const warm = await runLoad(scope, closedLoop(service.port, ids, WARM_UP_SECONDS));
  const result = await runLoad(scope, jobFor(service.port));
  const metrics = (await get(`${service.url}/metrics`)).body;
  const metric = (name: string) => Number(new RegExp(`^${name} (\\d+)`, 'm').exec(metrics)?.[1]);
  const round = {
    result, peakMegabytes: service.peakMegabytes(), miscounted: await totalOf(service) - rows - acceptedIn(warm) - acceptedIn(result),
    droppedLogLines: metric('log_lines_dropped_total'), indexLag: metric('storage_index_lag_messages'),
  };
  await service.end('SIGTERM');
  return round;
}

export async function totalOf({ url }: Pick<Server, 'url'>): Promise<number> {
  const stats: { total_messages: number } = JSON.parse((await get(`${url}/stats`)).body);
  return stats.total_messages;
}

const measureEmbedded = (bench: Bench, sending: Sending) =>
  inScope(async (scope) => measureService(scope, await provideDatabase(scope, bench, sending.rows), sending));

export const measureClosedLoop = (bench: Bench, rows: number, ids: Messages['ids']) =>
  measureEmbedded(bench, { ids, rows, jobFor: (port) => closedLoop(port, ids, bench.options.seconds) });

export const measureOpenLoop = (bench: Bench, ratePerSecond: number) =>
  measureEmbedded(bench, { ids: 'sequential', rows: 0, jobFor: (port) => openLoop(port, ratePerSecond, bench.options.seconds) });

/** The most messages a second that the service takes, from the stage that measures it, or from one round where that was left out. */
export async function maximumRate(bench: Bench): Promise<number> {
  const known = bench.maxima.get('embedded');
  if (known !== undefined) return known;
  const maximum = perSecond((await measureClosedLoop(bench, 0, 'sequential')).result);
  bench.maxima.set('embedded', maximum);
  bench.progress(`the maximum is ${show(maximum)}/s`);
  return maximum;
}

/** Runs a round as often as the options say. */
export async function repeat<Measured>(
  bench: Bench, round: () => Promise<Measured>, describe: (measured: Measured) => string, rounds = bench.options.rounds,
): Promise<Measured[]> {
  const all: Measured[] = [];
  for (let number = 1; number <= rounds; number += 1) {
    const measured = await round();
    all.push(measured);
    bench.progress(`round ${number} of ${rounds}: ${describe(measured)}`);
  }
  return all;
}
