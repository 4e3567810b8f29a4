/** Bad days made with the system's own means: limits of the process, damaged and missing files, a log that nobody reads. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import {
  closeSync, constants, copyFileSync, openSync, readFileSync, renameSync, statSync, truncateSync, unlinkSync, utimesSync, writeFileSync, writeSync,
} from 'node:fs';
import { Agent } from 'node:http';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, test, type TestContext } from 'node:test';
import { sendMessage, startClosedLoop } from './support/load.ts';
import { CHECKOUT, startServerProcess, type ServerProcess } from './support/server-process.ts';
import { temporaryFolder } from './support/temporary.ts';
import { waitFor } from './support/wait.ts';

const PAGE_BYTES = 4096;
/** In the write-ahead log, before each page. */
const FRAME_HEADER_BYTES = 24;

async function start(t: TestContext, path = join(temporaryFolder(t), 'app.db')) {
  const server = startServerProcess(t, { env: { DATABASE_URL: path } });
  const url = await server.url();
  const agent = new Agent({ keepAlive: true });
  t.after(() => agent.destroy());
  let sent = 0;
  const send = async () => (await sendMessage(agent, Number(new URL(url).port), `m${sent += 1}`)).status;
  const isReady = async () => (await fetch(`${url}/health/ready`)).status === 200;
  const metric = async (name: string) => Number(new RegExp(`^${name} (.*)$`, 'm').exec(await (await fetch(`${url}/metrics`)).text())?.[1]);
  return { path, server, url, send, isReady, metric };
}

/** Changes a resource limit of a running process; false where that is not possible here. */
function limit({ child }: ServerProcess, resource: string): boolean {
  return spawnSync('prlimit', ['--pid', String(child.pid), resource]).status === 0;
}

describe('a database that may not grow', () => {
  test('is 503 and not ready, reads go on, and once there is room it accepts again without a restart', async (t) => {
    const { server, url, send, isReady } = await start(t);
    assert.equal(await send(), 200);
    if (!limit(server, `--fsize=${200 * 1024}:`)) return t.skip('prlimit is not installed here');
    await waitFor('the limit', async () => await send() === 503);
    await waitFor('not ready', async () => !await isReady());
    assert.equal((await fetch(`${url}/messages`)).status, 200);
    limit(server, '--fsize=unlimited:');
    await waitFor('an acknowledgement', async () => await send() === 200);
    await waitFor('ready', isReady);
  });
});

describe('a database that is damaged while it is served', () => {
  test('gives no false 200, is not ready, and says so in the log', async (t) => {
    const { path, server, send } = await start(t);
    for (let count = 0; count < 50; count += 1) await send();
    server.child.kill('SIGTERM');
    await server.ended;
    const database = new DatabaseSync(path);
    const root = database.prepare("SELECT rootpage FROM sqlite_schema WHERE name = 'sqlite_autoindex_messages_1'").get()?.['rootpage'];
    database.close();
    const file = openSync(path, 'r+');
    writeSync(file, Buffer.alloc(PAGE_BYTES, 0xff), 0, PAGE_BYTES, (Number(root) - 1) * PAGE_BYTES);
    closeSync(file);

    const damaged = await start(t, path);
    assert.equal(await damaged.send(), 503);
    await waitFor('not ready', async () => !await damaged.isReady());
    assert.deepEqual((await damaged.server.line('not_ready'))['reasons'], ['the database is damaged']);
    assert.equal(await damaged.send(), 503);
  });
});

/** What befalls a file of the database: the same path, the same file with other content, or neither. */
const mishaps: Readonly<Record<string, (path: string, other: string) => void>> = {
  'removed': unlinkSync,
  'moved away': (path) => renameSync(path, `${path}.away`),
  'replaced by a copy of itself': (path) => {
    copyFileSync(path, `${path}.copy`);
    renameSync(`${path}.copy`, path);
  },
  'replaced by that of another database': (path, other) => renameSync(other, path),
  'emptied': (path) => truncateSync(path, 0),
  'cut off after a page': (path) => truncateSync(path, PAGE_BYTES),
  'cut off within its last page': (path) => truncateSync(path, statSync(path).size - 100),
  'overwritten by that of another database': (path, other) => copyFileSync(other, path),
  'overwritten by its own content of before': (path) => writeFileSync(path, readFileSync(path)),
  'overwritten at its beginning': (path) => overwrite(path, 0),
  'overwritten at its end': (path) => overwrite(path, statSync(path).size - PAGE_BYTES - FRAME_HEADER_BYTES),
};

function overwrite(path: string, position: number): void {
  const file = openSync(path, 'r+');
  writeSync(file, Buffer.alloc(PAGE_BYTES, 0xff), 0, PAGE_BYTES, position);
  closeSync(file);
}

/** The files of another inbox with some messages more, as its process left them: in its log, or after an orderly end in its database. */
async function createOther(t: TestContext, end: 'SIGKILL' | 'SIGTERM'): Promise<string> {
  const { path, server, send } = await start(t);
  for (let count = 0; count < 20; count += 1) await send();
  server.child.kill(end);
  await server.ended;
  return path;
}

/** A log that has been copied whole begins again, over whatever befell it, and nothing is lost: a reader keeps it from that. */
function holdLog(t: TestContext, path: string): void {
  const reader = new DatabaseSync(path, { readOnly: true });
  t.after(() => reader.close());
  reader.exec('BEGIN');
  reader.prepare('SELECT count(*) FROM messages').get();
}

describe('a file of the database that is not what it was', { concurrency: 4 }, () => {
  const REASONS = ['the database file was removed or replaced', 'the database file was changed by another program', 'the lock file was removed or replaced'];
  for (const suffix of ['', '-wal', '-lock', '-shm']) {
    for (const [mishap, befall] of Object.entries(mishaps)) {
      // The lock has no content, that of the index in memory is for a test of its own, and a file's own does no harm.
      const isOfContent = /emptied|cut|overwritten/.test(mishap);
      if (isOfContent && (suffix === '-lock' || suffix === '-shm' || mishap.includes('of before'))) continue;
      test(`app.db${suffix}, ${mishap}: nothing is acknowledged any more, it is not ready and says why`, async (t) => {
        const other = mishap.includes('another database') ? await createOther(t, suffix === '' ? 'SIGTERM' : 'SIGKILL') : '';
        const { path, url, send, isReady } = await start(t);
        if (suffix === '-wal') holdLog(t, path);
        for (let count = 0; count < 10; count += 1) assert.equal(await send(), 200);
        if (suffix === '-lock' && other !== '') writeFileSync(`${other}-lock`, '');
        befall(`${path}${suffix}`, `${other}${suffix}`);
        for (let count = 0; count < 10; count += 1) assert.equal(await send(), 503);
        await waitFor('not ready', async () => !await isReady());
        const { reasons }: { reasons: string[] } = JSON.parse(await (await fetch(`${url}/health/ready`)).text());
        assert.ok(reasons.length === 1 && REASONS.includes(reasons[0] ?? ''), String(reasons));
      });
    }
  }

  for (const mishap of ['emptied', 'overwritten by its own content of before', 'overwritten at its beginning']) {
    test(`app.db-shm, ${mishap}: nothing is lost, though the system may end a process that has it in memory`, async (t) => {
      const { path, server, send } = await start(t);
      let acknowledged = 0;
      for (let count = 0; count < 10; count += 1) if (await send() === 200) acknowledged += 1;
      mishaps[mishap]?.(`${path}-shm`, '');
      for (let count = 0; count < 10; count += 1) if (await send().catch(() => 'closed') === 200) acknowledged += 1;
      server.child.kill('SIGKILL');
      await server.ended;
      const again = await start(t, path);
      const { total_messages: stored }: { total_messages: number } = JSON.parse(await (await fetch(`${again.url}/stats`)).text());
      assert.ok(stored >= acknowledged && acknowledged >= 10, `${stored} of ${acknowledged}`);
    });
  }

  test('is noticed without a message, too', async (t) => {
    const { path, server, isReady } = await start(t);
    truncateSync(path, 0);
    await waitFor('not ready', async () => !await isReady());
    assert.deepEqual((await server.line('not_ready'))['reasons'], ['the database file was changed by another program']);
  });
});

function fill(fd: number): void {
  try {
    while (writeSync(fd, 'x'.repeat(PAGE_BYTES)) > 0);
  } catch {
    // Full: EAGAIN.
  }
}

test('what is only in the log of a database that was cut short is still there after an orderly stop', async (t) => {
  const { path, server, send } = await start(t);
  assert.equal(await send(), 200);
  truncateSync(path, PAGE_BYTES);
  assert.equal(await send(), 503);
  const before = readFileSync(`${path}-wal`);
  server.child.kill('SIGTERM');
  assert.deepEqual(await server.ended, { code: 0, signal: null });
  assert.ok(readFileSync(`${path}-wal`).equals(before));
  assert.equal(statSync(path).size, PAGE_BYTES);
});

test('a file of the database that was only touched, or written with what it had, keeps nobody from anything', async (t) => {
  for (const befall of [(path: string) => utimesSync(path, new Date(), new Date()), (path: string) => writeFileSync(path, readFileSync(path))]) {
    const { path, send, isReady, metric } = await start(t);
    holdLog(t, path);
    assert.equal(await send(), 200);
    befall(path);
    for (let count = 0; count < 10; count += 1) assert.equal(await send(), 200);
    assert.ok(await isReady());
    assert.equal(await metric('webhook_requests_total\\{result="unavailable"\\}'), 0);
  }
});

describe('a log that nobody reads', () => {
  test('stops neither the messages nor the end, and what is lost is counted', async (t) => {
    const { server, url, send, metric } = await start(t);
    server.stallLog();
    // The longest lines are those of the longest ids.
    let sent = 0;
    const load = startClosedLoop(t, Number(new URL(url).port), 32, () => `${'😀'.repeat(500)}${sent += 1}`);
    await waitFor('lost lines', async () => await metric('log_lines_dropped_total') > 0);
    await load.stop();
    assert.deepEqual(new Set(load.sent.map(({ status }) => status)), new Set([200]));
    assert.equal(await send(), 200);
    server.child.kill('SIGTERM');
    await waitFor('the end', () => server.child.exitCode !== null);
    assert.equal(server.child.exitCode, 0);
  });

  test('nor does a full pipe hold the process up', async (t) => {
    const path = join(temporaryFolder(t), 'pipe');
    spawnSync('mkfifo', [path]);
    const filling = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
    t.after(() => closeSync(filling));
    fill(filling);
    const stdout = openSync(path, 'w');
    t.after(() => closeSync(stdout));
    const child = spawn(process.execPath, [join(CHECKOUT, 'src/server.ts'), '--check-config'], { stdio: ['ignore', stdout, 'ignore'] });
    t.after(() => void child.kill('SIGKILL'));
    await waitFor('the end', () => child.exitCode !== null);
    assert.equal(child.exitCode, 0);
  });

  test('nor does one that is closed', async (t) => {
    const { server, send, metric } = await start(t);
    server.child.stdout?.destroy();
    await send();
    await waitFor('lost lines', async () => await metric('log_lines_dropped_total') > 0);
    assert.equal(await send(), 200);
    server.child.kill('SIGTERM');
    assert.deepEqual(await server.ended, { code: 0, signal: null });
  });
});

test('a process out of file descriptors answers again as soon as there are some', async (t) => {
  const { server, url, send } = await start(t);
  const open = (await fetch(`${url}/metrics`).then((response) => response.text())).match(/^process_open_fds (\d+)$/m)?.[1];
  if (!limit(server, `--nofile=${Number(open) + 5}:`)) return t.skip('prlimit is not installed here');
  const { port } = new URL(url);
  const crowd: Socket[] = Array.from({ length: 50 }, () => connect(Number(port), '127.0.0.1').on('error', () => {}));
  t.after(() => crowd.forEach((socket) => socket.destroy()));
  await waitFor('the crowd', () => crowd.some((socket) => socket.closed));
  for (const socket of crowd) socket.destroy();
  await waitFor('an acknowledgement', async () => await send() === 200);
  assert.equal(server.child.exitCode, null);
});

test('files keep their size between restarts: the log of the database is emptied at the start', async (t) => {
  const { path, server, send } = await start(t);
  await send();
  assert.ok(statSync(`${path}-wal`).size > 0);
  server.child.kill('SIGKILL');
  await server.ended;
  const again = await start(t, path);
  assert.ok(statSync(`${path}-wal`).size < PAGE_BYTES * 4);
  assert.match(await (await fetch(`${again.url}/stats`)).text(), /"total_messages":1/);
});
