/** Bad days: SQLite or a thread fails in a running server. No false 200, a clear line, the right exit status. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, test, type TestContext } from 'node:test';
import { createFaults, type Fault } from './support/faults.ts';
import { startClosedLoop } from './support/load.ts';
import { message, sign } from './support/messages.ts';
import { startServerProcess } from './support/server-process.ts';
import { temporaryFolder } from './support/temporary.ts';
import { waitFor } from './support/wait.ts';

const SQLITE_CORRUPT = 11;
const SQLITE_FULL = 13;
const SQLITE_IOERR_WRITE = 778;
const SQLITE_IOERR_FSYNC = 1034;

async function start(t: TestContext, env: Record<string, string> = {}) {
  const folder = temporaryFolder(t);
  const path = join(folder, 'app.db');
  const faults = createFaults(folder);
  const server = startServerProcess(t, { env: { DATABASE_URL: path, ...env }, nodeArguments: faults.nodeArguments });
  const url = await server.url();
  const send = (message_id: string) => {
    const body = JSON.stringify(message({ message_id }));
    return fetch(`${url}/webhook`, { method: 'POST', body, headers: { 'X-Signature': sign(body) } });
  };
  const reasons = async () => {
    const { reasons = [] }: { reasons?: string[] } = JSON.parse(await (await fetch(`${url}/health/ready`)).text());
    return reasons;
  };
  const storedIds = () => {
    const database = new DatabaseSync(path, { readOnly: true });
    try {
      return database.prepare('SELECT message_id FROM messages ORDER BY id').all().map((row) => row['message_id']);
    } finally {
      database.close();
    }
  };
  return { server, url, faults, send, reasons, storedIds };
}

describe('a commit that fails', () => {
  const passing: [string, number, string][] = [
    ['as the disk is full', SQLITE_FULL, 'the disk is full'],
    ['as a write failed', SQLITE_IOERR_WRITE, 'the disk reports an error'],
  ];
  for (const [what, errcode, reason] of passing) {
    test(`${what}: 503, reads go on, not ready while it lasts, then accepted again`, async (t) => {
      const { server, url, faults, send, reasons, storedIds } = await start(t);
      assert.equal((await send('before')).status, 200);
      faults.set({ thread: 'writer', statements: ['COMMIT'], effect: { errcode } });
      assert.equal((await send('during')).status, 503);
      assert.deepEqual(storedIds(), ['before']);
      assert.equal((await fetch(`${url}/messages`)).status, 200);
      await waitFor('not ready', async () => (await reasons()).includes(reason));
      assert.equal((await server.line('not_ready'))['level'], 'WARNING');
      faults.set(null);
      await waitFor('ready', async () => (await reasons()).length === 0);
      assert.equal((await send('during')).status, 200);
      assert.deepEqual(storedIds(), ['before', 'during']);
    });
  }

  test('as a page is damaged: the same, but ready only when a message was stored, as a probe may not touch that page', async (t) => {
    const { faults, send, reasons } = await start(t);
    faults.set({ thread: 'writer', statements: ['COMMIT'], effect: { errcode: SQLITE_CORRUPT } });
    assert.equal((await send('during')).status, 503);
    faults.set(null);
    await waitFor('not ready', async () => (await reasons()).includes('the database is damaged'));
    assert.equal((await send('after')).status, 200);
    await waitFor('ready', async () => (await reasons()).length === 0);
  });

  test('as a sync failed: no acknowledgement ever after, and status 70 with one clear line', async (t) => {
    const { server, faults, send } = await start(t);
    faults.set({ thread: 'writer', statements: ['COMMIT'], effect: { errcode: SQLITE_IOERR_FSYNC } });
    const attempts = await Promise.all(Array.from({ length: 20 }, (_, index) => send(`m${index}`).then(({ status }) => status, () => 'closed')));
    assert.ok(attempts.every((outcome) => outcome === 503 || outcome === 'closed'), JSON.stringify(attempts));
    assert.deepEqual(await server.ended, { code: 70, signal: null });
    assert.deepEqual(server.lines.filter(({ event }) => event === 'storage_failed').map(({ reason }) => reason), ['a sync to disk failed']);
  });

  test('and cannot be rolled back either: the same, as the transaction cannot be trusted any more', async (t) => {
    const { server, faults, send } = await start(t);
    faults.set({ thread: 'writer', statements: ['COMMIT', 'ROLLBACK'], effect: { errcode: SQLITE_FULL } });
    assert.notEqual(await send('x').then(({ status }) => status, () => 'closed'), 200);
    assert.deepEqual(await server.ended, { code: 70, signal: null });
    assert.equal((await server.line('storage_failed'))['reason'], 'the disk is full');
  });
});

describe('a thread that dies', () => {
  test('the writer: no false 200, no hung request, status 70', async (t) => {
    const { server, faults, send } = await start(t);
    faults.set({ thread: 'writer', statements: ['COMMIT'], effect: { die: true } });
    const attempts = await Promise.all(Array.from({ length: 20 }, (_, index) => send(`m${index}`).then(({ status }) => status, () => 'closed')));
    assert.ok(attempts.every((outcome) => outcome === 503 || outcome === 'closed'), JSON.stringify(attempts));
    assert.deepEqual(await server.ended, { code: 70, signal: null });
    assert.equal((await server.line('storage_failed'))['reason'], 'the writer thread died');
  });

  test('a reader: its read is 503, and it is replaced', async (t) => {
    const { url, faults, send } = await start(t);
    faults.set({ thread: 'reader', statements: ['BEGIN'], effect: { die: true } });
    assert.equal((await fetch(`${url}/stats`)).status, 503);
    assert.equal((await fetch(`${url}/stats`)).status, 503);
    assert.equal((await send('x')).status, 200);
    faults.set(null);
    await waitFor('a new reader', async () => (await fetch(`${url}/stats`)).status === 200);
  });
});

describe('the read index', () => {
  const troubles: [string, Fault['effect']][] = [['cannot be written', { errcode: SQLITE_FULL }], ['has lost its thread', { die: true }]];
  for (const [what, effect] of troubles) {
    test(`${what}: messages are stored and read all the same, its lag is a metric, and it is tried again`, async (t) => {
      const { server, url, faults, send } = await start(t);
      const stats = async (): Promise<unknown> => JSON.parse(await (await fetch(`${url}/stats`)).text()).total_messages;
      const lag = async () => /^storage_index_lag_messages (.*)$/m.exec(await (await fetch(`${url}/metrics`)).text())?.[1];
      faults.set({ thread: 'indexer', statements: ['BEGIN'], effect });
      assert.deepEqual([(await send('a')).status, (await send('b')).status, await stats(), await lag()], [200, 200, 2, '2']);
      assert.equal((await server.line('index_failed'))['level'], 'ERROR');
      assert.equal((await fetch(`${url}/health/ready`)).status, 200);
      faults.set(null);
      await waitFor('the index', async () => await lag() === '0');
      assert.equal(await stats(), 2);
    });
  }
});

describe('copying the log into the database file', () => {
  const syncs: [Fault['thread'], string][] = [['checkpointer', 'PRAGMA wal_checkpoint'], ['writer', 'PRAGMA main.wal_checkpoint']];
  for (const [thread, statement] of syncs) {
    test(`fails to sync in the ${thread}: status 70, as what is in the file cannot be trusted any more`, async (t) => {
      const { server, url, faults } = await start(t);
      faults.set({ thread, statements: [statement], effect: { errcode: SQLITE_IOERR_FSYNC } });
      let sent = 0;
      const load = startClosedLoop(t, Number(new URL(url).port), 64, () => `m${sent += 1}`);
      assert.deepEqual(await server.ended, { code: 70, signal: null });
      await load.stop();
      assert.equal((await server.line('storage_failed'))['reason'], 'a sync to disk failed');
    });
  }

  for (const [thread, statement] of syncs) {
    test(`fails otherwise in the ${thread}, also at rest: told once, shown in a metric, tried again, and told when it works again`, async (t) => {
      const { server, url, faults, send } = await start(t);
      const failing = async () => /^storage_background_failing\{step="checkpoint"\} (.*)$/m.exec(await (await fetch(`${url}/metrics`)).text())?.[1];
      assert.equal(await failing(), '0');
      faults.set({ thread, statements: [statement], effect: { errcode: SQLITE_IOERR_WRITE } });
      await send('before');
      await waitFor('the metric', async () => await failing() === '1');
      const { level, reason } = await server.line('checkpoint_failed');
      assert.deepEqual([level, reason], ['ERROR', 'the disk reports an error']);
      assert.equal((await fetch(`${url}/health/ready`)).status, 200);
      faults.set(null);
      await waitFor('the metric', async () => await failing() === '0');
      await server.line('checkpoint_recovered');
      const told = server.lines.map(({ event }) => String(event)).filter((event) => event.startsWith('checkpoint_'));
      assert.deepEqual(told, ['checkpoint_failed', 'checkpoint_recovered']);
    });
  }

  test('has lost its thread: status 70, as the log would grow for ever', async (t) => {
    const { server, faults, send } = await start(t);
    faults.set({ thread: 'checkpointer', statements: ['PRAGMA wal_checkpoint'], effect: { die: true } });
    await send('before');
    assert.deepEqual(await server.ended, { code: 70, signal: null });
    assert.equal((await server.line('storage_failed'))['reason'], 'the writer thread died');
  });

  test('fails otherwise: messages are stored all the same', async (t) => {
    const { server, url, faults, send } = await start(t);
    faults.set({ thread: 'checkpointer', statements: ['PRAGMA wal_checkpoint'], effect: { errcode: SQLITE_FULL } });
    let sent = 0;
    const load = startClosedLoop(t, Number(new URL(url).port), 64, () => `m${sent += 1}`);
    await server.line('checkpoint_failed');
    await load.stop();
    assert.deepEqual(new Set(load.sent.map(({ status }) => status)), new Set([200]));
    assert.equal((await send('after')).status, 200);
  });
});

test('a writer that hangs: 503, not ready, and a signal ends the process all the same', async (t) => {
  const { server, faults, send, reasons } = await start(t, { SHUTDOWN_TIMEOUT_MS: '1000' });
  faults.set({ thread: 'writer', statements: ['COMMIT'], effect: { busyMs: 600_000 } });
  assert.deepEqual((await Promise.all([send('a'), send('b')])).map(({ status }) => status), [503, 503]);
  assert.equal((await send('c')).status, 503);
  assert.ok((await reasons()).includes('the storage does not answer'));
  server.child.kill('SIGTERM');
  assert.deepEqual(await server.ended, { code: null, signal: 'SIGKILL' });
  assert.equal((await server.line('stopping'))['cause'], 'SIGTERM');
});

test('a refused read says in the log why: it took too long, waited too long, or its reader failed', async (t) => {
  const { server, url, faults } = await start(t, { QUERY_TIMEOUT_MS: '500' });
  const reasonsOf = (count: number) => waitFor('the lines', () => {
    const refused = server.lines.filter(({ event }) => event === 'read_refused');
    return refused.length === count && refused.slice(-2).map(({ reason }) => reason).toSorted();
  });
  const stats = () => fetch(`${url}/stats`).then(({ status }) => status);
  faults.set({ thread: 'reader', statements: ['BEGIN'], effect: { busyMs: 2000 } });
  assert.deepEqual(await Promise.all([stats(), stats()]), [503, 503]);
  assert.deepEqual(await reasonsOf(2), ['a read took too long', 'a read waited too long']);
  faults.set({ thread: 'reader', statements: ['BEGIN'], effect: { die: true } });
  assert.equal((await fetch(`${url}/messages/stream`)).status, 503);
  assert.equal(await stats(), 503);
  assert.ok((await reasonsOf(4)).includes('a reader failed'));
});

test('a read that takes too long is 503, and senders do not notice', async (t) => {
  const { url, faults, send } = await start(t, { QUERY_TIMEOUT_MS: '1000' });
  faults.set({ thread: 'reader', statements: ['BEGIN'], effect: { busyMs: 600_000 } });
  const read = fetch(`${url}/stats`);
  assert.equal((await send('x')).status, 200);
  assert.equal((await read).status, 503);
});
