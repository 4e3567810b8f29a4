import { provideDatabase } from './databases.ts';
import { startLoad, startService } from './processes.ts';
import { closedLoop, repeat } from './rounds.ts';
import { inScope } from './scope.ts';
import { below, type Bench, figure, show, type Stage } from './stage.ts';

const MOST_MS_EMPTY = 300;
const MOST_MS = 1000;
const SECONDS_BEFORE_KILL = 2;

export const start: Stage = {
  name: 'start',
  async run(bench) {
    const { rows } = bench.options;
    const afterKill = await inScope(async (scope) => {
      const path = await provideDatabase(scope, bench, rows);
      const killed = await startService(scope, path);
      const load = startLoad(scope, closedLoop(killed.port, 'random', SECONDS_BEFORE_KILL * 2));
      await load.started;
      await new Promise((resolve) => setTimeout(resolve, SECONDS_BEFORE_KILL * 1000));
      const ended = killed.end('SIGKILL');
      load.cutOff();
      await ended;
      return (await startService(scope, path)).readyMs;
    });
    return [
      figure('start to ready, empty database', await measure(bench, 0), ' ms', below(MOST_MS_EMPTY, ' ms')),
      figure(`start to ready, ${show(rows)} rows`, await measure(bench, rows), ' ms', below(MOST_MS, ' ms')),
      figure(`start to ready, ${show(rows)} rows, after SIGKILL under load`, [afterKill], ' ms', below(MOST_MS, ' ms')),
    ];
  },
};

async function measure(bench: Bench, rows: number): Promise<number[]> {
  return inScope(async (scope) => {
    const database = await provideDatabase(scope, bench, rows);
    return repeat(bench, async () => {
      const path = rows === 0 ? await provideDatabase(scope, bench, 0) : database;
      const service = await startService(scope, path);
      await service.end('SIGTERM');
      return service.readyMs;
    }, (readyMs) => `${show(readyMs)} ms with ${show(rows)} rows`);
  });
}
