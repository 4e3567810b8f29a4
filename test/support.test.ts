/** What a test starts ends with it, however it ends. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { startClosedLoop } from './support/load.ts';
import { isInstalled, NOT_INSTALLED, startPostgres } from './support/postgres.ts';
import { connectRaw } from './support/raw-http.ts';
import { CHECKOUT } from './support/server-process.ts';
import { temporaryFolder } from './support/temporary.ts';
import { waitFor } from './support/wait.ts';

async function listen(t: TestContext): Promise<{ server: Server; port: number; open: () => Promise<number> }> {
  const server = createServer((socket) => socket.resume().on('error', () => {})).listen(0, '127.0.0.1');
  t.after(() => void server.close());
  await waitFor('the server', () => server.listening);
  const open = () => new Promise<number>((resolve) => server.getConnections((_error, count) => resolve(count)));
  return { server, port: (server.address() as AddressInfo).port, open };
}

/** A scope that ends when the test says so. */
function createScope() {
  const cleanUps: (() => void | Promise<void>)[] = [];
  return {
    after: (cleanUp: () => void | Promise<void>) => void cleanUps.push(cleanUp),
    end: async () => {
      for (const cleanUp of cleanUps) await cleanUp();
    },
  };
}

describe('with its scope ends', () => {
  test('a closed loop that nobody answers', async (t) => {
    const { port, open } = await listen(t);
    const scope = createScope();
    const load = startClosedLoop(scope, port, 4, () => 'm');
    await waitFor('its connections', async () => await open() === 4);
    await scope.end();
    await waitFor('their end', async () => await open() === 0);
    assert.equal(load.sent.length, 4);
  });

  test('a closed loop against a port that is dead', async (t) => {
    const { server, port } = await listen(t);
    await new Promise((resolve) => server.close(resolve));
    const scope = createScope();
    const load = startClosedLoop(scope, port, 4, () => 'm');
    await waitFor('its attempts', () => load.sent.length >= 8);
    await scope.end();
    const attempts = load.sent.length;
    await load.stop();
    assert.equal(load.sent.length, attempts);
  });

  test('a raw connection', async (t) => {
    const { port, open } = await listen(t);
    const scope = createScope();
    const connection = connectRaw(scope, port);
    await waitFor('it', async () => await open() === 1);
    await scope.end();
    assert.equal(await connection.closed(), '');
    await waitFor('its end', async () => await open() === 0);
  });

  test('a PostgreSQL that was killed, started again and frozen, with its folder', { skip: !isInstalled && NOT_INSTALLED }, async (t) => {
    const scope = createScope();
    let hasEnded = false;
    t.after(() => hasEnded || scope.end());
    const server = await startPostgres(scope, { password: 'secret', settings: { work_mem: '5MB' } });
    const database = await server.createDatabase();
    await server.kill();
    await server.restart();
    assert.equal(await server.sql('SELECT current_database(), current_setting($$work_mem$$)', database), `${database}|5MB`);
    server.freeze();
    hasEnded = true;
    await scope.end();
    assert.equal(existsSync(server.socketFolder), false);
    await assert.rejects(fetch(`http://127.0.0.1:${server.port}`), /fetch failed/);
  });
});

const isAlive = (pid: number) => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

test('a run that is ended ends what hangs in it, and what that has started', async (t) => {
  const folder = temporaryFolder(t);
  const file = join(folder, 'hangs.test.mjs');
  const told = join(folder, 'pids');
  writeFileSync(file, `
    import { spawn } from 'node:child_process';
    import { renameSync, writeFileSync } from 'node:fs';
    const started = spawn(process.execPath, ['--eval', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' });
    writeFileSync(${JSON.stringify(`${told}.new`)}, JSON.stringify([process.pid, started.pid]));
    renameSync(${JSON.stringify(`${told}.new`)}, ${JSON.stringify(told)});
    for (;;);`);
  // A run within a run would do nothing.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const run = spawn(process.execPath, [join(CHECKOUT, 'test/run.ts'), file], { env, stdio: 'ignore' });
  const ended = new Promise((resolve) => run.on('close', resolve));
  let pids: number[] = [];
  t.after(async () => {
    run.kill();
    for (const pid of pids.filter(isAlive)) process.kill(pid, 'SIGKILL');
    await ended;
  });
  await waitFor('the test file', () => existsSync(told));
  pids = JSON.parse(readFileSync(told, 'utf8'));
  assert.deepEqual(pids.map(isAlive), [true, true]);
  run.kill();
  assert.equal(await ended, 1);
  await waitFor('their end', () => !pids.some(isAlive));
});
