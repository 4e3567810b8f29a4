import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { startClosedLoop } from '../support/load.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { waitFor } from '../support/wait.ts';
import { createIds, exactly, startTarget, type Scenario } from './scenario.ts';

const ROUNDS = 50;
const CONNECTIONS = 32;
/** Acknowledgements of a round before the kill: a random number up to this. */
const MOST_BEFORE_KILL = 2000;
const REPEATS = 2000;

export const kills: Scenario = {
  name: `SIGKILL under load, ${ROUNDS} rounds on one database`,
  async run(scope, progress) {
    const path = join(temporaryFolder(scope), 'app.db');
    const nextId = createIds('kill');
    const acknowledged = new Set<string>();
    for (let round = 1; round <= ROUNDS; round += 1) {
      const { server, port } = await startTarget(scope, { env: { DATABASE_URL: path, LOG_LEVEL: 'INFO' } });
      const load = startClosedLoop(scope, port, CONNECTIONS, nextId);
      const killAfter = 1 + Math.floor(Math.random() * MOST_BEFORE_KILL);
      await waitFor('acknowledgements', () => load.sent.length >= killAfter);
      server.child.kill('SIGKILL');
      await load.stop();
      await server.ended;
      for (const { message_id, status } of load.sent) if (status === 200) acknowledged.add(message_id);
      progress(`round ${round} of ${ROUNDS}, ${acknowledged.size} acknowledged`);
    }
    const { lost, stored, twice, integrity } = inspect(path, acknowledged);

    const { server, port } = await startTarget(scope, { env: { DATABASE_URL: path } });
    const again = [...acknowledged].slice(-REPEATS);
    let repeated = 0;
    const repeats = startClosedLoop(scope, port, CONNECTIONS, () => again[repeated++ % again.length] ?? '');
    await waitFor('the repeats', () => repeats.sent.length >= again.length);
    await repeats.stop();
    server.child.kill('SIGTERM');
    await server.ended;
    return [
      exactly(`acknowledged messages lost, of ${acknowledged.size}`, lost, 0),
      exactly('messages stored twice', twice, 0),
      exactly('PRAGMA integrity_check', integrity, 'ok'),
      exactly(`rows added by ${repeats.sent.length} repeats`, inspect(path, acknowledged).stored - stored, 0),
    ];
  },
};

function inspect(path: string, acknowledged: ReadonlySet<string>) {
  const database = new DatabaseSync(path);
  const ids = database.prepare('SELECT message_id FROM messages').all().map((row) => String(row['message_id']));
  const integrity = String(database.prepare('PRAGMA integrity_check').get()?.['integrity_check']);
  database.close();
  const present = new Set(ids);
  const lost = [...acknowledged].filter((id) => !present.has(id)).length;
  return { lost, stored: ids.length, twice: ids.length - present.size, integrity };
}
