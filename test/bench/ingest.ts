/** How many messages a second the service takes, and how soon it answers. */
import { SECRET } from '../support/messages.ts';
import type { Job, Result } from './load-generator.ts';
import { runLoad, startBareServer } from './processes.ts';
import { latency, soundness } from './round-figures.ts';
import { CONNECTIONS, maximumRate, measureClosedLoop, measureOpenLoop, repeat, WARM_UP_SECONDS } from './rounds.ts';
import { inScope } from './scope.ts';
import { atLeast, type Bench, figure, INGEST_RUNS, latencyAt, median, perSecond, show, type Stage } from './stage.ts';

const BARE_MESSAGES = 20_000;

export const ingest: Stage = {
  name: 'ingest',
  async run(bench) {
    const rounds = await repeat(bench, async () => {
      const bare = perSecond(await measureBareServer(bench));
      const service = await measureClosedLoop(bench, 0, 'sequential');
      return { bare, service, rate: perSecond(service.result) };
    }, ({ bare, rate }) => `bare server ${show(bare)}/s, service ${show(rate)}/s`);
    const services = rounds.map(({ service }) => service);
    bench.maxima.set('embedded', median(rounds.map(({ rate }) => rate)));
    bench.runs.push(...services.map(({ result }) => ({ name: INGEST_RUNS.closedLoop, rows: 0, result })));
    return [
      figure('bare node:http server', rounds.map(({ bare }) => bare), '/s'),
      figure('ingest', rounds.map(({ rate }) => rate), '/s'),
      figure('ingest: share of the bare server', rounds.map(({ bare, rate }) => (rate / bare) * 100), ' %', atLeast(30, ' %', 40)),
      latency('ingest', services, 0.5),
      latency('ingest', services, 0.99),
      ...soundness('ingest', services),
    ];
  },
};

async function measureBareServer(bench: Bench): Promise<Result> {
  return inScope(async (scope) => {
    const { port } = await startBareServer(scope);
    const job = (seconds: number): Job =>
      ({ port, connections: CONNECTIONS, seconds, send: { ids: 'sequential', secret: SECRET, most: BARE_MESSAGES, repeat: true } });
    await runLoad(scope, job(WARM_UP_SECONDS));
    return runLoad(scope, job(bench.options.seconds));
  });
}

export const openLoopAtAFifth: Stage = {
  name: 'open loop at a fifth of the maximum',
  async run(bench) {
    const rate = (await maximumRate(bench)) / 5;
    const rounds = await repeat(bench, () => measureOpenLoop(bench, rate), ({ result }) => `p99 ${show(latencyAt(result, 0.99))} ms`);
    bench.runs.push(...rounds.map(({ result }) => ({ name: INGEST_RUNS.fifth, rows: 0, result })));
    const name = `at a fifth of that, ${show(rate)}/s`;
    return [
      latency(name, rounds, 0.5, 2),
      latency(name, rounds, 0.99, 10),
      figure(`${name}: the load generator itself late, p99`, rounds.map(({ result }) => result.lateP99), ' ms'),
      ...soundness(name, rounds),
    ];
  },
};

export const randomIds: Stage = {
  name: 'random ids',
  async run(bench) {
    const { rows } = bench.options;
    const rounds = await repeat(bench, async () => {
      const empty = await measureClosedLoop(bench, 0, 'random');
      const full = await measureClosedLoop(bench, rows, 'random');
      return { empty, full, emptyRate: perSecond(empty.result), fullRate: perSecond(full.result) };
    }, ({ emptyRate, fullRate }) => `empty ${show(emptyRate)}/s, ${show(rows)} rows ${show(fullRate)}/s`);
    return [
      figure('random ids, empty database', rounds.map(({ emptyRate }) => emptyRate), '/s'),
      figure(`random ids, ${show(rows)} rows`, rounds.map(({ fullRate }) => fullRate), '/s'),
      figure('random ids: share of the empty database', rounds.map((round) => (round.fullRate / round.emptyRate) * 100), ' %',
        atLeast(45, ' %', 60)),
      latency(`random ids, ${show(rows)} rows`, rounds.map(({ full }) => full), 0.99),
      ...soundness('random ids', rounds.flatMap(({ empty, full }) => [empty, full])),
    ];
  },
};
