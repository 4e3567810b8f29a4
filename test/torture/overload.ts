import { join } from 'node:path';
import { openLoop, percentile, startClosedLoop } from '../support/load.ts';
import { createFaults } from '../support/faults.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { waitFor } from '../support/wait.ts';
import { atLeast, atMost, createIds, exactly, residentMegabytes, startTarget, type Scenario } from './scenario.ts';

const STORAGE_PER_SECOND = 2000;
const OFFERED_PER_SECOND = 4 * STORAGE_PER_SECOND;
const SECONDS = 10;

export const overload: Scenario = {
  name: `Offered ${OFFERED_PER_SECOND} messages/s where the storage takes ${STORAGE_PER_SECOND}`,
  async run(scope) {
    const { server, port } = await startTarget(scope, {
      script: 'test/torture/slow-storage-server.ts', env: { DATABASE_URL: join(temporaryFolder(scope), 'app.db') },
    });
    let most = 0;
    const watch = setInterval(() => { most = Math.max(most, residentMegabytes(server.child.pid)); }, 100);
    scope.after(() => clearInterval(watch));
    const sent = await openLoop(scope, port, OFFERED_PER_SECOND, SECONDS * 1000, createIds('over'));
    clearInterval(watch);
    const accepted = sent.filter(({ status }) => status === 200);
    const refused = sent.filter(({ status }) => status === 503);
    return [
      atLeast('offered', sent.length / SECONDS, OFFERED_PER_SECOND * 0.95, '/s'),
      atLeast('accepted', accepted.length / SECONDS, STORAGE_PER_SECOND * 0.8, '/s'),
      exactly('answers that are neither 200 nor 503', sent.length - accepted.length - refused.length, 0),
      atMost('p99 of an acceptance', percentile(accepted.map(({ latencyMs }) => latencyMs), 0.99), 2000, ' ms'),
      atMost('resident memory, of up to 5,000 connections', most, 500, ' MB'),
    ];
  },
};

export const busyReader: Scenario = {
  name: 'The writer dies, and a second signal comes, while both readers are busy',
  async run(scope) {
    const folder = temporaryFolder(scope);
    const faults = createFaults(folder);
    const start = () => startTarget(scope, { env: { DATABASE_URL: join(folder, 'app.db') }, nodeArguments: faults.nodeArguments });
    // Two for each reader: one that it is busy with, one that waits.
    const occupyReaders = (url: string) => {
      for (const path of ['/stats', '/messages?q=text', '/stats', '/messages?q=text']) void fetch(url + path).catch(() => {});
    };

    const dying = await start();
    faults.set({ thread: 'reader', statements: ['BEGIN'], effect: { busyMs: 60_000 } });
    occupyReaders(dying.url);
    const load = startClosedLoop(scope, dying.port, 8, createIds('busy'));
    await waitFor('acknowledgements', () => load.sent.length > 100);
    faults.set({ thread: 'writer', statements: ['COMMIT'], effect: { die: true } });
    const died = performance.now();
    const { code } = await dying.server.ended;
    const seconds = (performance.now() - died) / 1000;
    await load.stop();

    faults.set({ thread: 'reader', statements: ['BEGIN'], effect: { busyMs: 60_000 } });
    const stopped = await start();
    occupyReaders(stopped.url);
    await waitFor('a busy reader', async () => /storage_reads_waiting 2/.test(await (await fetch(`${stopped.url}/metrics`)).text()));
    stopped.server.child.kill('SIGTERM');
    await waitFor('not ready', async () => (await fetch(`${stopped.url}/health/ready`).catch(() => undefined))?.status !== 200);
    const signalled = performance.now();
    stopped.server.child.kill('SIGTERM');
    await stopped.server.ended;
    return [
      exactly('exit status after the writer died', code ?? -1, 70),
      atMost('until then', seconds, 2, ' s'),
      atMost('from a second signal to the end', (performance.now() - signalled) / 1000, 1, ' s'),
    ];
  },
};
