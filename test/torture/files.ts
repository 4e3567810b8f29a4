import { truncateSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { ask } from '../support/request.ts';
import { startClosedLoop } from '../support/load.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { waitFor } from '../support/wait.ts';
import { atMost, exactly, startTarget, type Figure, type Scenario } from './scenario.ts';

const CONNECTIONS = 32;
const ACKNOWLEDGED_BEFORE = 1000;
const REFUSED_AFTER = 1000;

const MISHAPS: readonly [what: string, suffix: string, befall: (path: string) => void][] = [
  ['app.db emptied', '', truncateSync], ['app.db removed', '', unlinkSync],
  ['app.db-wal emptied', '-wal', truncateSync], ['app.db-lock removed', '-lock', unlinkSync],
];

export const changedFiles: Scenario = {
  name: 'A file of the database is emptied or removed under load',
  async run(scope, progress) {
    const figures: Figure[] = [];
    for (const [what, suffix, befall] of MISHAPS) {
      const path = join(temporaryFolder(scope), 'app.db');
      const { url, port, server } = await startTarget(scope, { env: { DATABASE_URL: path } });
      let given = 0;
      const load = startClosedLoop(scope, port, CONNECTIONS, () => String(given += 1));
      await waitFor('acknowledgements', () => load.sent.length >= ACKNOWLEDGED_BEFORE);
      befall(`${path}${suffix}`);
      const [lastBefore, begin] = [given, performance.now()];
      await waitFor('not ready', async () => (await fetch(`${url}/health/ready`)).status === 503);
      const seconds = (performance.now() - begin) / 1000;
      const refusedBy = load.sent.length + REFUSED_AFTER;
      await waitFor('refusals', () => load.sent.length >= refusedBy);
      await load.stop();
      const falsely = load.sent.filter(({ message_id, status }) => status === 200 && Number(message_id) > lastBefore).length;
      figures.push(exactly(`${what}: acknowledgements of what was sent after it`, falsely, 0), atMost(`${what}: until it is not ready`, seconds, 2, ' s'));
      server.child.kill('SIGKILL');
      await server.ended;
      progress(what);
    }
    return figures;
  },
};

const DELAY_MS = 2000;

export const delayedEnd: Scenario = {
  name: `SIGTERM with SHUTDOWN_DELAY_MS=${DELAY_MS}, a new connection for each request`,
  async run(scope) {
    const { url, server } = await startTarget(scope, { env: { DATABASE_URL: join(temporaryFolder(scope), 'app.db'), SHUTDOWN_DELAY_MS: String(DELAY_MS) } });
    server.child.kill('SIGTERM');
    await waitFor('not ready', async () => (await ask(`${url}/health/ready`)).status === 503);
    const begin = performance.now();
    let [asked, refused] = [0, 0];
    // Ends well before the delay, so that a late request is none of the server's.
    while (performance.now() - begin < DELAY_MS / 2) {
      asked += 1;
      if (await ask(`${url}/stats`).then(({ status }) => status, () => 0) !== 200) refused += 1;
    }
    const { code } = await server.ended;
    return [exactly(`requests refused in the first half of the delay, of ${asked}`, refused, 0), exactly('exit status', code ?? -1, 0)];
  },
};
