/** The documented consumer, killed at random moments, as the service is, while messages arrive. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { startClosedLoop } from '../support/load.ts';
import { createRandom } from '../support/random.ts';
import { CHECKOUT, startServerProcess } from '../support/server-process.ts';
import { temporaryFolder, type Scope } from '../support/temporary.ts';
import { waitFor } from '../support/wait.ts';

const ROUNDS = 12;

/** The program in src/http/README.md that begins with this comment. */
function documentedProgram(firstLine: string): string {
  const page = readFileSync(join(CHECKOUT, 'src/http/README.md'), 'utf8');
  const program = page.split('```').find((block) => block.startsWith(`js\n${firstLine}`));
  assert.ok(program, 'the page has the program');
  return program.slice('js\n'.length);
}

/** A port that is free now. */
async function freePort(scope: Scope): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  scope.after(() => void server.close());
  await waitFor('a port', () => server.listening);
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === 'object' && address !== null ? address.port : 0;
}

test('the documented consumer has seen each message exactly once, in order, though both sides are killed at random', async (t) => {
  const folder = temporaryFolder(t);
  const path = join(folder, 'app.db');
  const seenPath = join(folder, 'seen.db');
  const program = join(folder, 'follow.mjs');
  writeFileSync(program, documentedProgram('// follow.mjs'));
  const port = await freePort(t);
  const random = createRandom(Math.floor(Math.random() * 2 ** 32));

  const startServer = async (scope: Scope) => {
    const server = startServerProcess(scope, { env: { DATABASE_URL: path, PORT: String(port), LOG_LEVEL: 'WARNING' } });
    await server.url();
    return server;
  };
  const startConsumer = (scope: Scope) => {
    const child = spawn(process.execPath, [program, `http://127.0.0.1:${port}`, seenPath], { stdio: 'ignore' });
    const ended = new Promise((resolve) => child.on('close', resolve));
    scope.after(async () => {
      child.kill('SIGKILL');
      await ended;
    });
    return { kill: () => void child.kill('SIGKILL'), ended };
  };

  let server = await startServer(t);
  let consumer = startConsumer(t);
  let sent = 0;
  const load = startClosedLoop(t, port, 8, () => `m${sent += 1}`);
  const acknowledged = () => load.sent.filter(({ status }) => status === 200).map(({ message_id }) => message_id);
  for (let round = 0; round < ROUNDS; round += 1) {
    const enough = acknowledged().length + 20 + random.below(400);
    await waitFor('more acknowledgements', () => acknowledged().length >= enough);
    if (round % 3 === 2) {
      server.child.kill('SIGKILL');
      await server.ended;
      server = await startServer(t);
    } else {
      consumer.kill();
      await consumer.ended;
      consumer = startConsumer(t);
    }
  }
  await load.stop();

  const database = new DatabaseSync(path, { readOnly: true });
  t.after(() => database.close());
  const stored = database.prepare('SELECT message_id FROM messages ORDER BY id').all().map((row) => row['message_id']);
  const seen = new DatabaseSync(seenPath, { readOnly: true });
  t.after(() => seen.close());
  const readSeen = () => seen.prepare('SELECT message FROM seen ORDER BY rowid').all().map((row): unknown => JSON.parse(String(row['message'])).message_id);
  assert.ok(stored.length > 200, `${stored.length} were stored`);
  await waitFor('the last message', () => readSeen().length >= stored.length);
  assert.deepEqual(readSeen(), stored);
  assert.deepEqual(new Set(acknowledged()).difference(new Set(stored)), new Set());
});
