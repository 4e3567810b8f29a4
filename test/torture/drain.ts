import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { startClosedLoop } from '../support/load.ts';
import { connectRaw, statusesIn } from '../support/raw-http.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { waitFor } from '../support/wait.ts';
import { atMost, createIds, exactly, startTarget, type Scenario } from './scenario.ts';

const ROUNDS = 10;
const DEADLINE_S = 8;
const HALF_SENT = 50;

export const drainUnderLoad: Scenario = {
  name: `SIGTERM under load with half-sent bodies and idle connections, ${ROUNDS} rounds`,
  async run(scope, progress) {
    const path = join(temporaryFolder(scope), 'app.db');
    const nextId = createIds('drain');
    const acknowledged: string[] = [];
    const seconds: number[] = [];
    const codes = new Set<number | null>();
    let halfSent = 0;
    let stoppingLines = 0;
    let unanswered = 0;
    for (let round = 1; round <= ROUNDS; round += 1) {
      const { server, port } = await startTarget(scope, { env: { DATABASE_URL: path } });
      const idle = Array.from({ length: HALF_SENT }, () => connectRaw(scope, port));
      const half = Array.from({ length: HALF_SENT }, () => connectRaw(scope, port));
      for (const connection of half) connection.write('POST /webhook HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\nExpect: 100-continue\r\n\r\n{');
      await waitFor('the half-sent bodies', () => half.every((connection) => connection.received().includes('100 Continue')));
      const load = startClosedLoop(scope, port, 32, nextId);
      await waitFor('acknowledgements', () => load.sent.length > 300);
      const begin = performance.now();
      server.child.kill('SIGTERM');
      codes.add((await server.ended).code);
      seconds.push((performance.now() - begin) / 1000);
      await load.stop();
      for (const { message_id, status } of load.sent) if (status === 200) acknowledged.push(message_id);
      for (const answer of await Promise.all(half.map((connection) => connection.closed()))) {
        if (statusesIn(answer).slice(1).every((status) => status === 503)) halfSent += 1;
      }
      await Promise.all(idle.map((connection) => connection.closed()));
      const stopping = server.lines.filter(({ event }) => event === 'stopping');
      stoppingLines += stopping.length;
      unanswered += stopping.reduce((sum, line) => sum + Number(line['unanswered']), 0);
      progress(`round ${round} of ${ROUNDS}`);
    }
    const database = new DatabaseSync(path, { readOnly: true });
    const stored = new Set(database.prepare('SELECT message_id FROM messages').all().map((row) => row['message_id']));
    database.close();
    return [
      exactly('exit statuses', [...codes].join(), '0'),
      atMost('longest time to the end', Math.max(...seconds), DEADLINE_S, ' s'),
      exactly(`acknowledged messages lost, of ${acknowledged.length}`, acknowledged.filter((id) => !stored.has(id)).length, 0),
      exactly('half-sent bodies answered 503 or closed', halfSent, ROUNDS * HALF_SENT),
      exactly('fully received requests without an answer', unanswered, 0),
      exactly('lines that say why it stops', stoppingLines, ROUNDS),
    ];
  },
};
