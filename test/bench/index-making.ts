/** What senders notice of a read index that is being made: how soon the service is ready without it, and how much it takes meanwhile. */
import { rmSync } from 'node:fs';
import { provideDatabase } from './databases.ts';
import { get, runLoad, type Server, startService } from './processes.ts';
import { closedLoop, repeat, WARM_UP_SECONDS } from './rounds.ts';
import { inScope } from './scope.ts';
import { atLeast, below, type Bench, exactly, figure, notAccepted, perSecond, show, type Stage } from './stage.ts';

const MOST_MS = 1000;

export const indexMaking: Stage = {
  name: 'making the index',
  async run(bench) {
    const rows = `${show(bench.options.rows)} rows`;
    const rounds = await repeat(bench, async () => {
      const whole = await measure(bench, () => {});
      const making = await measure(bench, (path) => rmSync(`${path}-index`));
      return { whole, making, share: (perSecond(making.result) / perSecond(whole.result)) * 100 };
    }, ({ share }) => `ingest kept ${show(share)} %`);
    const all = rounds.flatMap(({ whole, making }) => [whole, making]);
    return [
      figure(`start to ready, ${rows}, without the read index`, rounds.map(({ making }) => making.readyMs), ' ms', below(MOST_MS, ' ms')),
      figure(`${rows}: ingest, share kept while the read index is made`, rounds.map(({ share }) => share), ' %', atLeast(70, ' %')),
      figure(`${rows}: messages taken into it meanwhile`, rounds.map(({ making }) => making.indexedPerSecond), '/s'),
      exactly(`${rows}: rounds in which it was not being made to the end`, rounds.filter(({ making }) => !making.isDegraded).length, 0),
      exactly(`${rows}: answers other than 200, or none`, all.reduce((sum, { result }) => sum + notAccepted(result), 0), 0),
    ];
  },
};

async function measure(bench: Bench, change: (path: string) => void) {
  return inScope(async (scope) => {
    const path = await provideDatabase(scope, bench, bench.options.rows);
    change(path);
    const service = await startService(scope, path);
    await runLoad(scope, closedLoop(service.port, 'sequential', WARM_UP_SECONDS));
    const before = await lagOf(service);
    const result = await runLoad(scope, closedLoop(service.port, 'sequential', bench.options.seconds));
    const indexedPerSecond = perSecond(result) + (before - await lagOf(service)) / result.seconds;
    const isDegraded = (await get(`${service.url}/health/ready`)).body.includes('degraded');
    await service.end('SIGTERM');
    return { readyMs: service.readyMs, result, indexedPerSecond, isDegraded };
  });
}

async function lagOf({ url }: Server): Promise<number> {
  return Number(/^storage_index_lag_messages (\d+)/m.exec((await get(`${url}/metrics`)).body)?.[1]);
}
