/** What stands between a receiver and its PostgreSQL in tests does what it says. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { freePort } from './support/free-port.ts';
import { hasPgbouncer, startPgbouncer } from './support/pgbouncer.ts';
import { binaries, isInstalled, NOT_INSTALLED, startPostgres, SUPERUSER } from './support/postgres.ts';
import { startProxy } from './support/proxy.ts';
import { connectRaw } from './support/raw-http.ts';
import type { Scope } from './support/temporary.ts';
import { waitFor } from './support/wait.ts';

/** A server that sends back what it gets, behind a proxy. */
async function startEcho(scope: Scope) {
  const sockets = new Set<Socket>();
  const [port, proxied] = [await freePort(), await freePort()];
  let heard = '';
  const server = createServer((socket) => {
    socket.on('data', (chunk) => { heard += String(chunk); });
    sockets.add(socket.on('error', () => {}).on('close', () => sockets.delete(socket)));
    socket.pipe(socket);
  }).listen(port, '127.0.0.1');
  const stop = () => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  scope.after(stop);
  await waitFor('the server', () => server.listening);
  return { sockets, stop, heard: () => heard, port, proxied, proxy: await startProxy(scope, proxied, port) };
}

describe('a proxy', () => {
  test('hands on both ways, and closes what the other side closed', async (t) => {
    const { proxied, sockets } = await startEcho(t);
    const [one, other] = [connectRaw(t, proxied), connectRaw(t, proxied)];
    for (const connection of [one, other]) connection.write('hello');
    await waitFor('the echoes', () => one.received() === 'hello' && other.received() === 'hello');
    one.socket.end();
    assert.equal(await one.closed(), 'hello');
    await waitFor('the end of one', () => sockets.size === 1);
    for (const socket of sockets) socket.resetAndDestroy();
    assert.equal(await other.closed(), 'hello');
  });

  test('that is cut neither hands on nor closes anything, and catches up once it is healed', async (t) => {
    const { port, proxied, proxy, sockets, heard } = await startEcho(t);
    const [kept, reset, left] = [connectRaw(t, proxied), connectRaw(t, proxied), connectRaw(t, proxied)];
    for (const connection of [kept, reset, left]) connection.write('1');
    await waitFor('the echoes', () => [kept, reset, left].every((connection) => connection.received() === '1'));
    proxy.cut();
    const late = connectRaw(t, proxied);
    for (const connection of [kept, late]) connection.write('2');
    const [first, second] = sockets;
    first?.write('0');
    second?.resetAndDestroy();
    left.socket.destroy();
    // Past the proxy the server answers, so there was time for the proxy to answer as well.
    const direct = connectRaw(t, port);
    direct.write('3');
    await waitFor('a direct echo', () => direct.received() === '3');
    assert.deepEqual([kept, late, reset].map((connection) => connection.received()), ['1', '', '1']);
    assert.deepEqual([kept, late, reset].map(({ socket }) => socket.closed), [false, false, false]);
    assert.equal(heard(), '1113');
    proxy.heal();
    await waitFor('what was held back', () => kept.received() === '102' && late.received() === '2');
    await reset.closed();
    await waitFor('the end of what has gone', () => sockets.size === 3);
  });

  test('resets what is refused behind it', async (t) => {
    const { proxied, stop } = await startEcho(t);
    stop();
    assert.equal(await connectRaw(t, proxied).closed(), '');
  });
});

const skip = !isInstalled ? NOT_INSTALLED : !hasPgbouncer && 'pgbouncer is not installed';

test('a pooler gives each transaction any session of the server', { skip }, async (t) => {
  const password = 'secret "quoted"';
  const { port: serverPort } = await startPostgres(t, { password });
  const port = await startPgbouncer(t, { port: serverPort, passwords: { [SUPERUSER]: password }, settings: { default_pool_size: '1' } });
  const ask = (env: Record<string, string>) => promisify(execFile)(join(binaries ?? '', 'psql'), [
    '--no-psqlrc', '--no-align', '--tuples-only', '--host', '127.0.0.1', '--port', String(port), '--username', SUPERUSER,
    '--command', 'SELECT pg_backend_pid()',
  ], { env: { ...process.env, ...env } });
  const [one, other] = [await ask({ PGPASSWORD: password }), await ask({ PGPASSWORD: password })];
  assert.equal(one.stdout, other.stdout);
  await assert.rejects(ask({ PGPASSWORD: 'wrong' }), /SASL authentication failed/);
});
