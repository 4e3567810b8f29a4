/** One round of ingest into PostgreSQL: by one service, by two that share a database, or by another receiver. */
import { join } from 'node:path';
import { SECRET } from '../../support/messages.ts';
import type { Scope } from '../../support/temporary.ts';
import type { Job } from '../load-generator.ts';
import { runLoad, startLoad, startServer, startService } from '../processes.ts';
import { closedLoop, CONNECTIONS, measureService, openLoop, type Round, totalOf, WARM_UP_SECONDS } from '../rounds.ts';
import { inScope } from '../scope.ts';
import { acceptedIn, type Bench, notAccepted, perSecond, show } from '../stage.ts';
import { type Cluster, NAMES } from './clusters.ts';

/** In the folder of the options. It takes DATABASE_URL, WEBHOOK_SECRET and PORT, and keeps what it gets in `peer_messages`. */
const PEER_FILE = 'fastify-pg.mjs';
const PEER_LISTENING = /listening at http:\/\/127\.0\.0\.1:(\d+)/;

const measure = (cluster: Cluster, jobFor: (port: number) => Job): Promise<Round> =>
  inScope(async (scope) => measureService(scope, (await cluster.provideDatabase(scope)).url, { ids: 'sequential', rows: 0, jobFor }));

export const measureClosedLoop = ({ options }: Bench, cluster: Cluster) =>
  measure(cluster, (port) => closedLoop(port, 'sequential', options.seconds));

export const measureOpenLoop = ({ options }: Bench, cluster: Cluster, ratePerSecond: number) =>
  measure(cluster, (port) => openLoop(port, ratePerSecond, options.seconds));

/** The most messages a second, from the stage that measures it, or from one round where that was left out. */
export async function maximumRate(bench: Bench, cluster: Cluster): Promise<number> {
  const known = bench.maxima.get(cluster.kind);
  if (known !== undefined) return known;
  const maximum = perSecond((await measureClosedLoop(bench, cluster)).result);
  bench.maxima.set(cluster.kind, maximum);
  bench.progress(`the maximum of ${NAMES[cluster.kind]} is ${show(maximum)}/s`);
  return maximum;
}

export interface Intake {
  readonly perSecond: number;
  /** Answers other than 200, or none. */
  readonly refused: number;
  /** Messages acknowledged and not there, or the other way round. */
  readonly miscounted: number;
}

/** Several closed loops at once, and how many messages those send that were accepted a second, from the first to the last. */
async function runTogether(scope: Scope, jobs: readonly Job[]) {
  const runs = await Promise.all(jobs.map((job) => startLoad(scope, job)).map(async ({ started, result }) => {
    await started;
    const begin = performance.now();
    const sent = await result;
    return { begin, end: begin + sent.seconds * 1000, accepted: acceptedIn(sent), refused: notAccepted(sent) };
  }));
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
  const accepted = sum(runs.map((run) => run.accepted));
  const seconds = (Math.max(...runs.map(({ end }) => end)) - Math.min(...runs.map(({ begin }) => begin))) / 1000;
  return { accepted, perSecond: accepted / seconds, refused: sum(runs.map(({ refused }) => refused)) };
}

/** As many connections as one service gets, divided between two. */
export function measureTwoServices({ options }: Bench, cluster: Cluster): Promise<Intake> {
  return inScope(async (scope) => {
    const { url } = await cluster.provideDatabase(scope);
    const services = [await startService(scope, url), await startService(scope, url)];
    const send = (seconds: number) =>
      runTogether(scope, services.map(({ port }) => closedLoop(port, 'sequential', seconds, CONNECTIONS / services.length)));
    const warm = await send(WARM_UP_SECONDS);
    const result = await send(options.seconds);
    const totals = await Promise.all(services.map(totalOf));
    for (const service of services) await service.end('SIGTERM');
    const miscounted = totals.reduce((sum, total) => sum + Math.abs(total - warm.accepted - result.accepted), 0);
    return { perSecond: result.perSecond, refused: result.refused, miscounted };
  });
}

export function measurePeer({ options }: Bench, cluster: Cluster, folder: string): Promise<Intake> {
  return inScope(async (scope) => {
    const { url, sql } = await cluster.provideDatabase(scope);
    const env = { DATABASE_URL: url, WEBHOOK_SECRET: SECRET, PORT: '0' };
    const peer = await startServer(scope, join(folder, PEER_FILE), { env, listening: PEER_LISTENING });
    const warm = await runLoad(scope, closedLoop(peer.port, 'sequential', WARM_UP_SECONDS));
    const result = await runLoad(scope, closedLoop(peer.port, 'sequential', options.seconds));
    const stored = Number(await sql('SELECT count(*) FROM peer_messages'));
    await peer.end('SIGKILL');
    return { perSecond: perSecond(result), refused: notAccepted(result), miscounted: stored - acceptedIn(warm) - acceptedIn(result) };
  });
}
