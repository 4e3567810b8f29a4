import { copyFileSync, renameSync, rmSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { startClosedLoop } from '../support/load.ts';
import { message } from '../support/messages.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { waitFor } from '../support/wait.ts';
import { atLeast, createIds, exactly, startTarget, type Scenario } from './scenario.ts';

const MESSAGES_BETWEEN = 4000;

function replace(path: string): void {
  copyFileSync(path, `${path}-copy`);
  renameSync(`${path}-copy`, path);
}

const MISHAPS: readonly (readonly [what: string, befall: (indexPath: string) => void])[] = [
  ['removed', (path) => rmSync(path)], ['emptied', (path) => truncateSync(path)], ['replaced', replace],
];

export const indexLoss: Scenario = {
  name: 'The read index is removed, emptied and replaced under load',
  async run(scope, progress) {
    const path = join(temporaryFolder(scope), 'app.db');
    const { url, port, server } = await startTarget(scope, { env: { DATABASE_URL: path } });
    const load = startClosedLoop(scope, port, 16, createIds('index'));
    const ready = async () => (await fetch(`${url}/health/ready`)).status === 200;
    let unready = 0;
    const watch = setInterval(() => void ready().then((is) => { unready += is ? 0 : 1; }), 200);
    scope.after(() => clearInterval(watch));
    let madeAnew = 0;
    for (const [what, befall] of MISHAPS) {
      const enough = load.sent.length + MESSAGES_BETWEEN;
      await waitFor('messages', () => load.sent.length >= enough);
      const before = made(server.lines);
      befall(`${path}-index`);
      await waitFor('another index', async () => {
        await fetch(`${url}/messages?from=${encodeURIComponent(message().from)}`);
        return made(server.lines) > before;
      });
      madeAnew += 1;
      progress(what);
    }
    clearInterval(watch);
    await load.stop();
    const refused = load.sent.filter(({ status }) => status !== 200).length;
    const database = new DatabaseSync(path, { readOnly: true });
    const stored = Number(database.prepare('SELECT count(*) AS rows FROM messages').get()?.['rows']);
    database.close();
    const totals = await Promise.all(['', `?from=${encodeURIComponent(message().from)}`, '?since=2025-01-15T10:00:00Z', '?q=hello'].map(async (query) =>
      (JSON.parse(await (await fetch(`${url}/messages${query}`)).text()) as { total: number }).total));
    return [
      atLeast('times it was made anew, without a restart', madeAnew, MISHAPS.length),
      exactly(`messages not acknowledged, of ${load.sent.length}`, refused, 0),
      exactly('times it was not ready', unready, 0),
      exactly('totals afterwards that are not SQL\'s own', totals.filter((total) => total !== stored).length, 0),
    ];
  },
};

const made = (lines: readonly Readonly<Record<string, unknown>>[]) => lines.filter(({ event }) => event === 'index_complete').length;
