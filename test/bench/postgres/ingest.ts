/** How many messages a second go into PostgreSQL, beside the embedded storage, beside one more receiver, and beside another program. */
import { latency, soundness } from '../round-figures.ts';
import { measureClosedLoop as measureEmbedded, repeat, type Round } from '../rounds.ts';
import { inScope } from '../scope.ts';
import { atLeast, type Bench, exactly, type Figure, figure, latencyAt, median, perSecond, show, type Stage } from '../stage.ts';
import { type Kind, NAMES, startCluster } from './clusters.ts';
import { type Intake, maximumRate, measureClosedLoop, measureOpenLoop, measurePeer, measureTwoServices } from './receiving.ts';

const KINDS = ['local', 'replicated'] as const satisfies readonly Kind[];
/** In percent of what the embedded storage takes. */
const LEAST_SHARE: Record<Kind, number> = { local: 60, replicated: 35 };
const TIMES_THE_PEER: Record<Kind, { readonly least: number; readonly aim: number }> = {
  local: { least: 1.5, aim: 2 }, replicated: { least: 2, aim: 3 },
};
const MOST_MS_AT_A_FIFTH = 25;

const ratesOf = (rounds: readonly Round[]) => rounds.map(({ result }) => perSecond(result));

export const ingest: Stage = {
  name: 'ingest',
  run: (bench) => inScope(async (scope) => {
    const clusters = { local: await startCluster(scope, 'local'), replicated: await startCluster(scope, 'replicated') };
    const rounds = await repeat(bench, async () => ({
      embedded: await measureEmbedded(bench, 0, 'sequential'),
      local: await measureClosedLoop(bench, clusters.local),
      replicated: await measureClosedLoop(bench, clusters.replicated),
    }), ({ embedded, local, replicated }) => {
      const [own, one, two] = ratesOf([embedded, local, replicated]).map((rate) => `${show(rate)}/s`);
      return `embedded ${own}, ${NAMES.local} ${one}, ${NAMES.replicated} ${two}`;
    });
    const embedded = rounds.map((round) => round.embedded);
    const embeddedRates = ratesOf(embedded);
    return [
      figure('embedded: ingest', embeddedRates, '/s'), latency('embedded', embedded, 0.99), ...soundness('embedded', embedded),
      ...KINDS.flatMap((kind) => {
        const name = NAMES[kind];
        const own = rounds.map((round) => round[kind]);
        const rates = ratesOf(own);
        bench.maxima.set(kind, median(rates));
        bench.runs.push(...own.map(({ result }) => ({ name, rows: 0, result })));
        const shares = rates.map((rate, round) => (rate / (embeddedRates[round] ?? NaN)) * 100);
        return [
          figure(`${name}: ingest`, rates, '/s'),
          figure(`${name}: ingest, share of the embedded storage`, shares, ' %', atLeast(LEAST_SHARE[kind], ' %')),
          latency(name, own, 0.5), latency(name, own, 0.99), ...soundness(name, own),
        ];
      }),
    ];
  }),
};

export const twoReceivers: Stage = {
  name: 'two receivers',
  run: (bench) => inScope(async (scope) => {
    const cluster = await startCluster(scope, 'local');
    const rounds = await repeat(bench, async () => {
      const one = perSecond((await measureClosedLoop(bench, cluster)).result);
      const two = await measureTwoServices(bench, cluster);
      return { one, two, share: (two.perSecond / one) * 100 };
    }, ({ one, two }) => `one ${show(one)}/s, two ${show(two.perSecond)}/s`);
    return [
      figure('one receiver with 64 connections', rounds.map(({ one }) => one), '/s'),
      figure('two receivers with 32 each', rounds.map(({ two }) => two.perSecond), '/s'),
      figure('two receivers: share of one', rounds.map(({ share }) => share), ' %', atLeast(100, ' %')),
      ...soundnessOf('two receivers', rounds.map(({ two }) => two)),
    ];
  }),
};

export const openLoopAtAFifth: Stage = {
  name: 'open loop at a fifth of the maximum',
  async run(bench) {
    const figures: Figure[] = [];
    for (const kind of KINDS) figures.push(...await measureAtAFifth(bench, kind));
    return figures;
  },
};

const measureAtAFifth = (bench: Bench, kind: Kind): Promise<Figure[]> => inScope(async (scope) => {
  const cluster = await startCluster(scope, kind);
  const rate = (await maximumRate(bench, cluster)) / 5;
  const name = `${NAMES[kind]} at a fifth of its maximum, ${show(rate)}/s`;
  const rounds = await repeat(bench, () => measureOpenLoop(bench, cluster, rate),
    ({ result }) => `${NAMES[kind]}: p99 ${show(latencyAt(result, 0.99))} ms`);
  bench.runs.push(...rounds.map(({ result }) => ({ name, rows: 0, result })));
  return [
    latency(name, rounds, 0.5), latency(name, rounds, 0.99, MOST_MS_AT_A_FIFTH),
    figure(`${name}: the load generator itself late, p99`, rounds.map(({ result }) => result.lateP99), ' ms'),
    ...soundness(name, rounds),
  ];
});

export const peer: Stage = {
  name: 'peer',
  async run(bench) {
    const { peerFolder } = bench.options;
    if (peerFolder === undefined) {
      bench.progress('left out: --peer names no folder');
      return [];
    }
    const figures: Figure[] = [];
    for (const kind of KINDS) figures.push(...await measureBesidePeer(bench, kind, peerFolder));
    return figures;
  },
};

const measureBesidePeer = (bench: Bench, kind: Kind, folder: string): Promise<Figure[]> => inScope(async (scope) => {
  const cluster = await startCluster(scope, kind);
  const name = NAMES[kind];
  const rounds = await repeat(bench, async () => {
    const other = await measurePeer(bench, cluster, folder);
    const own = perSecond((await measureClosedLoop(bench, cluster)).result);
    return { other, own, times: own / other.perSecond };
  }, ({ other, own }) => `${name}: peer ${show(other.perSecond)}/s, service ${show(own)}/s`);
  const { least, aim } = TIMES_THE_PEER[kind];
  return [
    figure(`${name}: peer, an insert a request`, rounds.map(({ other }) => other.perSecond), '/s'),
    figure(`${name}: ingest beside it`, rounds.map(({ own }) => own), '/s'),
    figure(`${name}: ingest, times the peer`, rounds.map(({ times }) => times), '', atLeast(least, '', aim)),
    ...soundnessOf(`${name}: peer`, rounds.map(({ other }) => other)),
  ];
});

function soundnessOf(name: string, intakes: readonly Intake[]): Figure[] {
  const sum = (count: (intake: Intake) => number) => intakes.reduce((total, intake) => total + count(intake), 0);
  return [
    exactly(`${name}: answers other than 200, or none`, sum(({ refused }) => refused), 0),
    exactly(`${name}: acknowledged and not there`, sum(({ miscounted }) => Math.abs(miscounted)), 0),
  ];
}
