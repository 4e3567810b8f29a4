/** What senders notice while messages in PostgreSQL expire: half the maximum rate before it, and then beside it, in one database. */
import { setTimeout as delay } from 'node:timers/promises';
import { runLoad, startService } from '../processes.ts';
import { openLoop, repeat, WARM_UP_SECONDS } from '../rounds.ts';
import { inScope } from '../scope.ts';
import { acceptedIn, atLeast, type Bench, exactly, figure, joined, latencyAt, notAccepted, show, type Stage } from '../stage.ts';
import { type Cluster, type Database, startCluster } from './clusters.ts';
import { fill } from './fill.ts';
import { maximumRate } from './receiving.ts';

const MOST_ROUNDS = 3;
const DAY_MS = 24 * 60 * 60 * 1000;
const LOOK_EVERY_MS = 500;
/** One of so many messages expires. */
const PER_EXPIRING = 10;

export const expiring: Stage = {
  name: 'expiring',
  run: (bench) => inScope(async (scope) => {
    const cluster = await startCluster(scope, 'local');
    const rate = (await maximumRate(bench, cluster)) / 2;
    const rounds = await repeat(bench, () => measure(bench, cluster, rate),
      ({ share, p99, seconds }) => `ingest kept ${show(share)} %, ${show(p99)} times its p99, it took ${show(seconds)} s`,
      Math.min(bench.options.rounds, MOST_ROUNDS));
    const name = `PostgreSQL, ${show(bench.options.rows)} rows at half the maximum, while a tenth of them expires`;
    return [
      figure(`${name}: ingest, share kept`, rounds.map(({ share }) => share), ' %', atLeast(90, ' %')),
      figure(`${name}: ingest, times its p99 alone`, rounds.map(({ p99 }) => p99), ''),
      figure(`${name}: until no expired row is left`, rounds.map(({ seconds }) => seconds), ' s'),
      exactly(`${name}: answers other than 200, or none`, rounds.reduce((sum, { refused }) => sum + refused, 0), 0),
    ];
  }),
};

const measure = (bench: Bench, cluster: Cluster, rate: number) => inScope(async (scope) => {
  const database = await cluster.provideDatabase(scope);
  await fill(cluster, database, bench.options.rows, bench.progress);
  const send = async (settings: Record<string, string>, isGoingOn: () => Promise<boolean>) => {
    const service = await startService(scope, database.url, [], settings);
    await runLoad(scope, openLoop(service.port, rate, WARM_UP_SECONDS));
    const results = [];
    do results.push(await runLoad(scope, openLoop(service.port, rate, bench.options.seconds)));
    while (await isGoingOn());
    return { ingest: joined(results), end: () => service.end('SIGTERM') };
  };
  const alone = await send({}, async () => false);
  await alone.end();

  const { days, lastId } = await tenthOf(database);
  const isLeft = async () => await database.sql(`SELECT EXISTS (SELECT FROM messages WHERE id <= ${lastId})`) === 't';
  const began = performance.now();
  const together = await send({ RETENTION_DAYS: String(days) }, isLeft);
  while (await isLeft()) await delay(LOOK_EVERY_MS);
  const seconds = (performance.now() - began) / 1000;
  await together.end();
  const perSecond = ({ ingest }: typeof alone) => acceptedIn(ingest) / ingest.seconds;
  return {
    share: (perSecond(together) / perSecond(alone)) * 100, p99: latencyAt(together.ingest, 0.99) / latencyAt(alone.ingest, 0.99), seconds,
    refused: notAccepted(alone.ingest) + notAccepted(together.ingest),
  };
});

/** For how many days to keep messages so that a tenth of them has expired, and the last that has then. */
async function tenthOf({ sql }: Database): Promise<{ readonly days: number; readonly lastId: string }> {
  const tenth = Number(await sql(`SELECT received_at FROM messages ORDER BY id LIMIT 1 OFFSET (SELECT count(*) FROM messages) / ${PER_EXPIRING}`));
  const days = Math.floor((Date.now() - tenth) / DAY_MS);
  return { days, lastId: await sql(`SELECT max(id) FROM messages WHERE received_at < ${Date.now() - days * DAY_MS}`) };
}
