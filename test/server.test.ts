/** The service as its own process, as operators run it: what is built, its signals and its exit statuses. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync, chownSync, existsSync, mkdirSync, readFileSync, renameSync, statSync, truncateSync, unlinkSync, writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, test, type TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { hasOpenssl, makeCertificate } from './support/certificates.ts';
import { message, sign } from './support/messages.ts';
import { readEvents } from './support/event-stream.ts';
import { connectRaw } from './support/raw-http.ts';
import { ask } from './support/request.ts';
import { CHECKOUT, startServerProcess, type ServerProcess, type ServerProcessOptions } from './support/server-process.ts';
import { temporaryFolder } from './support/temporary.ts';
import { waitFor } from './support/wait.ts';

/** Any user but root, whom file modes do not stop. */
const UNPRIVILEGED_UID = 65532;

function start(t: TestContext, options: Partial<ServerProcessOptions> = {}, env: Record<string, string> = {}) {
  const path = join(temporaryFolder(t), 'app.db');
  return { path, server: startServerProcess(t, { ...options, env: { DATABASE_URL: path, ...env } }) };
}

function send(url: string, changes: Parameters<typeof message>[0] = {}): Promise<Response> {
  const body = JSON.stringify(message(changes));
  return fetch(`${url}/webhook`, { method: 'POST', body, headers: { 'X-Signature': sign(body) } });
}

async function refusal(server: ServerProcess): Promise<string> {
  assert.deepEqual(await server.ended, { code: 1, signal: null });
  assert.equal(server.lines.length, 1, JSON.stringify(server.lines));
  assert.deepEqual([server.lines[0]?.['level'], server.lines[0]?.['event'], server.stderr()], ['ERROR', 'start_refused', '']);
  return JSON.stringify(server.lines[0]?.['problems']);
}

describe('dist/server.js', () => {
  test('stores over a restart, as the build has it', async (t) => {
    const { path, server } = start(t, { script: 'dist/server.js' });
    const url = await server.url();
    assert.equal((await send(url)).status, 200);
    assert.match(await (await fetch(`${url}/messages`)).text(), /"total":1/);
    server.child.kill('SIGTERM');
    assert.deepEqual(await server.ended, { code: 0, signal: null });

    const again = startServerProcess(t, { script: 'dist/server.js', env: { DATABASE_URL: path } });
    const response = await send(await again.url());
    assert.equal(response.status, 200);
    const requestId = response.headers.get('x-request-id');
    const entry = await waitFor('its entry', () => again.lines.find(({ event, request_id }) => event === 'webhook' && request_id === requestId));
    assert.equal(entry['dup'], true);
  });

  test('says in one line what it needs where Node.js is too old', (t) => {
    const old = execFileSync('sh', ['-c', 'command -v node || true'], { encoding: 'utf8' }).trim();
    const version = old === '' ? '' : execFileSync(old, ['-p', 'process.versions.node'], { encoding: 'utf8' }).trim();
    if (version === '' || Number.parseInt(version, 10) >= 26) return t.skip('no older Node.js is installed here');
    const { status, stdout, stderr } = spawnSync(old, [join(CHECKOUT, 'dist/server.js')], { encoding: 'utf8' });
    assert.deepEqual([status, stderr], [1, '']);
    assert.deepEqual(JSON.parse(stdout).problems, [`webhook-inbox needs Node.js 26 or newer; this is ${version}`]);
  });
});

describe('the command line', () => {
  test('--version prints the version alone', () => {
    const { version }: { version: string } = JSON.parse(readFileSync(join(CHECKOUT, 'package.json'), 'utf8'));
    const { status, stdout } = spawnSync(process.execPath, [join(CHECKOUT, 'dist/server.js'), '--version'], { encoding: 'utf8', env: {} });
    assert.deepEqual([status, stdout], [0, `${version}\n`]);
  });

  test('--check-config says that nothing is wrong, or what, and opens nothing', async (t) => {
    const { path, server } = start(t, { args: ['--check-config'] });
    assert.deepEqual([(await server.ended).code, typeof (await server.line('config_valid'))['warnings']], [0, 'object']);
    assert.equal(existsSync(path), false);
    const unset = start(t, { args: ['--check-config'] }, { WEBHOOK_SECRET: '' }).server;
    const { warnings } = await unset.line('config_valid');
    assert.equal(Array.isArray(warnings) && warnings[0], 'WEBHOOK_SECRET is not set: no message will be accepted');
    assert.match(await refusal(start(t, { args: ['--check-config'] }, { PORT: 'x', LOG_LEVEL: 'y' }).server), /LOG_LEVEL.*PORT/);
  });

  test('takes nothing else', async (t) => {
    assert.match(await refusal(start(t, { args: ['--help-me'] }).server), /--check-config or --version/);
    assert.match(await refusal(start(t, { args: ['stray'] }).server), /--check-config or --version/);
  });
});

describe('a start that an operator has to mend is refused with one clear line and status 1', () => {
  test('a wrong configuration, every problem named, before anything is opened', async (t) => {
    const { path, server } = start(t, {}, { PORT: '99999', MAX_BODY_BYTES: '-1', ENABLE_METRICS: 'maybe' });
    assert.match(await refusal(server), /ENABLE_METRICS.*PORT.*MAX_BODY_BYTES/);
    assert.equal(existsSync(path), false);
  });

  test('a port that is taken', async (t) => {
    const other = createServer().listen(0, '127.0.0.1');
    t.after(() => void other.close());
    await waitFor('the other server', () => other.listening);
    const address = other.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const { server } = start(t, {}, { PORT: String(port) });
    assert.equal((await server.ended).code, 1);
    assert.match(JSON.stringify(await server.line('start_refused')), /is already in use/);
  });

  test('an address that is not this machine\'s', async (t) => {
    const { server } = start(t, {}, { HOST: '203.0.113.1' });
    assert.equal((await server.ended).code, 1);
    assert.match(JSON.stringify(await server.line('start_refused')), /HOST 203\.0\.113\.1 is not an address/);
  });

  test('a file that is no database, left as it was', async (t) => {
    const path = join(temporaryFolder(t), 'app.db');
    writeFileSync(path, 'not a database, but long enough to look at'.repeat(100));
    const before = readFileSync(path);
    assert.match(await refusal(startServerProcess(t, { env: { DATABASE_URL: path } })), /is not a SQLite database/);
    assert.deepEqual(readFileSync(path), before);
  });

  test('a file made by a newer version', async (t) => {
    const { path, server } = start(t);
    await server.line('listening');
    server.child.kill('SIGTERM');
    await server.ended;
    const database = new DatabaseSync(path);
    database.exec('PRAGMA user_version = 1000');
    database.close();
    assert.match(await refusal(startServerProcess(t, { env: { DATABASE_URL: path } })), /newer version/);
  });

  test('a file or a folder that it may not write', async (t) => {
    const canRun = spawnSync(process.execPath, ['--check', join(CHECKOUT, 'src/server.ts')], { uid: UNPRIVILEGED_UID, gid: UNPRIVILEGED_UID });
    if (canRun.status !== 0) return t.skip('needs root, and a checkout that other users can read');
    const folder = temporaryFolder(t);
    chmodSync(folder, 0o755);
    assert.match(await refusal(startServerProcess(t, { env: { DATABASE_URL: join(folder, 'app.db') }, uid: UNPRIVILEGED_UID })), /writable for this user/);

    const owned = join(folder, 'owned');
    mkdirSync(owned);
    chownSync(owned, UNPRIVILEGED_UID, UNPRIVILEGED_UID);
    new DatabaseSync(join(owned, 'app.db')).exec('CREATE TABLE x(y); DROP TABLE x');
    chmodSync(join(owned, 'app.db'), 0o444);
    assert.match(await refusal(startServerProcess(t, { env: { DATABASE_URL: join(owned, 'app.db') }, uid: UNPRIVILEGED_UID })), /writable for this user/);
  });

  test('a log whose database is gone or empty', async (t) => {
    const { path, server } = start(t);
    await send(await server.url());
    server.child.kill('SIGKILL');
    await server.ended;
    const log = readFileSync(`${path}-wal`);
    truncateSync(path);
    assert.match(await refusal(startServerProcess(t, { env: { DATABASE_URL: path } })), /gone or empty/);
    unlinkSync(path);
    assert.match(await refusal(startServerProcess(t, { env: { DATABASE_URL: path } })), /gone or empty/);
    assert.deepEqual(readFileSync(`${path}-wal`), log);
  });

  test('a database that another server serves', async (t) => {
    const { path, server } = start(t);
    const url = await server.url();
    assert.match(await refusal(startServerProcess(t, { env: { DATABASE_URL: path } })), /already served by another process/);
    assert.equal((await send(url)).status, 200);
  });
});

describe('a lock file that goes missing', () => {
  for (const [what, lose] of [['removed', unlinkSync], ['moved away and back', (lock: string) => renameSync(lock, `${lock}.away`)]] as const) {
    test(`${what}: the first server acknowledges nothing after a second one could have started`, async (t) => {
      const { path, server } = start(t);
      const url = await server.url();
      assert.equal((await send(url)).status, 200);
      lose(`${path}-lock`);
      const second = startServerProcess(t, { env: { DATABASE_URL: path } });
      const secondUrl = await second.url();
      for (const message_id of ['a', 'b', 'c']) {
        assert.equal((await send(url, { message_id })).status, 503);
        assert.equal((await send(secondUrl, { message_id: `${message_id} second` })).status, 200);
      }
      await waitFor('not ready', async () => (await fetch(`${url}/health/ready`)).status === 503);
      assert.deepEqual((await server.line('not_ready'))['reasons'], ['the lock file was removed or replaced']);
      assert.match(await refusal(startServerProcess(t, { env: { DATABASE_URL: path } })), /already served by another process/);
      if (!existsSync(`${path}-lock.away`)) return;

      renameSync(`${path}-lock.away`, `${path}-lock`);
      for (const each of [url, secondUrl]) assert.equal((await send(each, { message_id: 'late' })).status, 503);
    });
  }
});

describe('files', () => {
  test('are readable by their owner only', async (t) => {
    const { path, server } = start(t);
    await server.line('listening');
    for (const file of [path, `${path}-wal`, `${path}-shm`, `${path}-lock`, `${path}-index`]) assert.equal(statSync(file).mode & 0o777, 0o600, file);
  });
});

describe('the end', () => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    test(`comes with status 0 on ${signal}, with one line that says why`, async (t) => {
      const { server } = start(t);
      await send(await server.url());
      server.child.kill(signal);
      assert.deepEqual(await server.ended, { code: 0, signal: null });
      const { cause, drained, unanswered } = await server.line('stopping');
      assert.deepEqual({ cause, drained, unanswered }, { cause: signal, drained: 0, unanswered: 0 });
      assert.equal(server.lines.filter(({ event }) => event === 'stopping').length, 1);
    });
  }

  /** Loaded before the service: sends the signal to itself while a module of it is being loaded. */
  const signalWhileLoading = (module: string) => {
    const source = `import { registerHooks } from 'node:module';
      registerHooks({ load(url, context, next) {
        if (/[/]${module}[.][jt]s$/.test(url)) process.kill(process.pid, 'SIGTERM');
        return next(url, context);
      } });`;
    return ['--import', `data:text/javascript,${encodeURIComponent(source)}`];
  };
  const asFirstProcess = ['unshare', '--pid', '--fork', '--mount-proc', '--kill-child'];
  const [unshare = '', ...unshareArguments] = asFirstProcess;
  const canUnshare = spawnSync(unshare, [...unshareArguments, 'true']).status === 0;

  for (const script of ['dist/server.js', 'src/server.ts'] as const) {
    for (const module of ['main', 'app', 'writer', 'indexer']) {
      for (const wrapper of [[], asFirstProcess]) {
        const where = wrapper.length === 0 ? '' : ', as the first process of a container';
        test(`comes with status 0 on a signal while ${script} loads its ${module}${where}`, async (t) => {
          if (wrapper.length > 0 && !canUnshare) return t.skip('needs root and unshare');
          const { server } = start(t, { script, wrapper, nodeArguments: signalWhileLoading(module) });
          assert.deepEqual(await server.ended, { code: 0, signal: null });
          assert.equal((await server.line('stopping'))['cause'], 'SIGTERM');
        });
      }
    }
  }

  test('comes with status 0 on a signal at any moment of the start, or by the signal before Node.js has run a line', async (t) => {
    for (let offsetMs = 0; offsetMs <= 300; offsetMs += 20) {
      const { server } = start(t, { script: 'dist/server.js' });
      await delay(offsetMs);
      server.child.kill('SIGTERM');
      const { code, signal } = await server.ended;
      assert.ok(code === 0 || (signal === 'SIGTERM' && server.lines.length === 0), `after ${offsetMs} ms: ${code} ${signal}`);
    }
  });

  test('loses nothing that was acknowledged under load, and leaves every request answered or its connection closed', async (t) => {
    const { path, server } = start(t);
    const url = await server.url();
    const acknowledged: string[] = [];
    let sent = 0;
    const sender = async () => {
      for (;;) {
        const message_id = `m${sent += 1}`;
        const response = await send(url, { message_id }).catch(() => undefined);
        if (response === undefined) return;
        if (response.status === 200) acknowledged.push(message_id);
      }
    };
    const senders = Array.from({ length: 16 }, sender);
    await waitFor('some acknowledgements', () => acknowledged.length > 100);
    server.child.kill('SIGTERM');
    assert.deepEqual(await server.ended, { code: 0, signal: null });
    await Promise.all(senders);
    assert.equal((await server.line('stopping'))['unanswered'], 0);

    const database = new DatabaseSync(path, { readOnly: true });
    t.after(() => database.close());
    const stored = new Set(database.prepare('SELECT message_id FROM messages').all().map((row) => row['message_id']));
    assert.deepEqual(acknowledged.filter((id) => !stored.has(id)), []);
  });

  test('comes after a delay in which it is not ready, takes new connections and keeps its streams, or at once on a second signal', async (t) => {
    const { server } = start(t, {}, { SHUTDOWN_DELAY_MS: '600000' });
    const url = await server.url();
    const stream = await readEvents(t, `${url}/messages/stream`);
    server.child.kill('SIGTERM');
    await waitFor('not ready', async () => (await fetch(`${url}/health/ready`)).status === 503);
    for (const message_id of ['one', 'two']) {
      const body = JSON.stringify(message({ message_id }));
      assert.equal((await ask(`${url}/webhook`, { method: 'POST', body, headers: { 'X-Signature': sign(body) } })).status, 200);
    }
    await stream.has(2);
    server.child.kill('SIGTERM');
    assert.deepEqual(await server.ended, { code: null, signal: 'SIGKILL' });

    const short = start(t, {}, { SHUTDOWN_DELAY_MS: '100' }).server;
    await short.url();
    short.child.kill('SIGTERM');
    assert.deepEqual(await short.ended, { code: 0, signal: null });
  });

  test('comes at once on a second signal', async (t) => {
    const { server } = start(t, {}, { SHUTDOWN_TIMEOUT_MS: '60000' });
    const url = new URL(await server.url());
    const half = connectRaw(t, Number(url.port));
    half.write('POST /webhook HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n');
    await waitFor('the half request', () => half.received().includes('100 Continue'));
    server.child.kill('SIGTERM');
    await waitFor('not ready', async () => (await fetch(`${url.origin}/health/ready`).catch(() => undefined))?.status === 503);
    server.child.kill('SIGTERM');
    assert.deepEqual(await server.ended, { code: null, signal: 'SIGKILL' });
  });
});

for (const script of ['dist/healthcheck.js', 'src/healthcheck.ts']) {
  const check = (env: Record<string, string>) => spawnSync(process.execPath, [join(CHECKOUT, script)], { env }).status;

  test(`${script} ends with 0 where the service is ready, else with 1`, async (t) => {
    const { server } = start(t);
    const { port } = new URL(await server.url());
    for (const HOST of ['127.0.0.1', '0.0.0.0']) assert.equal(check({ HOST, PORT: port }), 0);
    const unready = start(t, {}, { WEBHOOK_SECRET: '' }).server;
    assert.equal(check({ HOST: '127.0.0.1', PORT: new URL(await unready.url()).port }), 1);
    server.child.kill('SIGKILL');
    await server.ended;
    assert.equal(check({ PORT: port }), 1);
    assert.equal(check({ PORT: 'x' }), 1);
  });

  test(`${script} finds the service on its private side, and behind TLS, whatever became of its secrets`, async (t) => {
    const apart = start(t, {}, { PRIVATE_PORT: '0' }).server;
    await apart.url();
    const { port, private_port } = await apart.line('listening');
    const environment = { HOST: '127.0.0.1', PORT: String(port), PRIVATE_PORT: String(private_port), READ_TOKEN: '', WEBHOOK_SECRET_FILE: '/nowhere' };
    assert.equal(check(environment), 0);
    assert.equal(check({ ...environment, PRIVATE_PORT: String(port) }), 1);

    if (!hasOpenssl) return t.skip('openssl is not installed here');
    const { certificate, key } = makeCertificate(temporaryFolder(t), 'server');
    const tls = { TLS_CERT_FILE: certificate, TLS_KEY_FILE: key, TLS_CLIENT_CA_FILE: certificate };
    const secure = start(t, {}, tls).server;
    const securePort = new URL(await secure.url()).port;
    assert.equal(check({ ...tls, HOST: '127.0.0.1', PORT: securePort }), 0);
    assert.equal(check({ HOST: '127.0.0.1', PORT: securePort }), 1);
  });
}
