/** The write-ahead log: what keeps it long, what that costs, and that it is short again as soon as it can be. */
import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, test, type TestContext } from 'node:test';
import { Worker } from 'node:worker_threads';
import type { UnavailableReason } from '../../../../src/errors.ts';
import { createRemains } from '../../../../src/storage/sqlite/file/remains.ts';
import { startCheckpoints } from '../../../../src/storage/sqlite/writing/checkpoints.ts';
import { createGateMemory, createSnapshotGate } from '../../../../src/storage/sqlite/snapshot-gate.ts';
import { startTestApp, type TestApp } from '../../../support/app.ts';
import { CHECKOUT } from '../../../support/server-process.ts';
import { openTestStorage } from '../../../support/storage.ts';
import { temporaryFolder, type Scope } from '../../../support/temporary.ts';
import { waitFor } from '../../../support/wait.ts';

const MEBIBYTE = 1024 * 1024;
/** Past every size of the log at which something is done about it. */
const LARGE_LOG_MEBIBYTES = 560;
const FAILING = 'storage_background_failing{step="checkpoint"}';

const logBytes = (path: string) => statSync(`${path}-wal`).size;

function connect(scope: Scope, path: string): DatabaseSync {
  const database = new DatabaseSync(path, { timeout: 5000 });
  database.exec('PRAGMA wal_autocheckpoint = 0; PRAGMA synchronous = OFF');
  scope.after(() => database.close());
  return database;
}

/** Makes the log that long, as many large messages would. */
function fillLog(database: DatabaseSync, mebibytes: number): void {
  database.exec('CREATE TABLE IF NOT EXISTS filler(content)');
  const insert = database.prepare('INSERT INTO filler VALUES (zeroblob(?))');
  for (let filled = 0; filled < mebibytes; filled += 16) insert.run(16 * MEBIBYTE);
}

function holdSnapshot(scope: Scope, path: string): DatabaseSync {
  const reader = connect(scope, path);
  reader.exec('BEGIN');
  reader.prepare('SELECT count(*) FROM messages').get();
  return reader;
}

const READS = ['/messages?q=Hello', '/messages?since=2020-01-01T00:00:00Z', '/messages?offset=20000', '/messages', '/stats'];

async function statusesOfReads({ get }: TestApp): Promise<number[]> {
  return await Promise.all(READS.map(async (path) => (await get(path)).status));
}

const eventsOf = ({ logs }: TestApp, prefix: string) =>
  logs.map(({ event }) => event).filter((event) => String(event).startsWith(prefix));

describe("a log that another program's reader keeps long", () => {
  test('costs no read and no sender anything, is told of once, and is emptied without a write once that reader has gone', async (t) => {
    const app = await startTestApp(t);
    assert.equal((await app.send()).status, 200);
    const reader = holdSnapshot(t, app.databasePath);
    fillLog(connect(t, app.databasePath), LARGE_LOG_MEBIBYTES);
    assert.ok(logBytes(app.databasePath) > LARGE_LOG_MEBIBYTES * MEBIBYTE);
    await waitFor('the metric', async () => await app.metric(FAILING) === 1);
    assert.deepEqual(await statusesOfReads(app), READS.map(() => 200));
    assert.equal((await app.send({ message_id: 'meanwhile' })).status, 200);
    assert.equal((await app.get('/health/ready')).status, 200);
    assert.equal(app.logs.find(({ event }) => event === 'checkpoint_failed')?.['reason'], 'a reader keeps the log from being emptied');

    reader.exec('COMMIT');
    await waitFor('a short log', () => logBytes(app.databasePath) < MEBIBYTE);
    await waitFor('the metric', async () => await app.metric(FAILING) === 0);
    assert.deepEqual(eventsOf(app, 'checkpoint_'), ['checkpoint_failed', 'checkpoint_recovered']);
  });

  test('that was long already at the start costs nothing either, and is short soon after', async (t) => {
    const path = join(temporaryFolder(t), 'app.db');
    const before = await startTestApp(t, { DATABASE_URL: path });
    await before.send();
    await before.stop();
    const writer = connect(t, path);
    fillLog(writer, LARGE_LOG_MEBIBYTES);
    const reader = holdSnapshot(t, path);
    // All is copied, so that the service starts; but with that reader the log is not emptied.
    writer.exec('PRAGMA wal_checkpoint(PASSIVE)');

    const app = await startTestApp(t, { DATABASE_URL: path });
    assert.deepEqual(await statusesOfReads(app), READS.map(() => 200));
    reader.exec('COMMIT');
    await waitFor('a short log', () => logBytes(path) < MEBIBYTE);
  });
});

test('what another program writes, and the last message before a rest, are copied soon, and the log is emptied', async (t) => {
  const { databasePath, send } = await startTestApp(t);
  await send();
  fillLog(connect(t, databasePath), 32);
  await waitFor('a short log', () => logBytes(databasePath) < MEBIBYTE);
});

/** A thread that reads until it has to end, and then says why. */
const LONG_READ = `
  const { parentPort, workerData: { path, gate, checkout } } = require('node:worker_threads');
  const { DatabaseSync } = require('node:sqlite');
  const load = (name) => import(checkout + '/src/storage/sqlite/' + name + '.ts');
  Promise.all([load('reading/snapshot'), load('snapshot-gate')]).then(([{ createInSnapshot }, { createSnapshotGate }]) => {
    const database = new DatabaseSync(path, { readOnly: true });
    try {
      createInSnapshot(database, createSnapshotGate(gate))(Infinity, false, ({ first, requireTime }) => {
        first('SELECT count(*) FROM messages');
        parentPort.postMessage('reading');
        for (;;) requireTime();
      });
    } catch (error) {
      parentPort.postMessage(error.reason);
    }
    database.close();
  });`;

async function startLongRead(t: TestContext, path: string, gate: SharedArrayBuffer): Promise<string[]> {
  const said: string[] = [];
  const thread = new Worker(LONG_READ, { eval: true, workerData: { path, gate, checkout: CHECKOUT } });
  t.after(async () => void (await thread.terminate()));
  thread.on('message', (reason: string) => said.push(reason));
  await waitFor('the read', () => said.includes('reading'));
  return said;
}

test('a read of our own ends, for that reason, where it keeps a large log from being emptied, and not before', async (t) => {
  const path = join(temporaryFolder(t), 'app.db');
  await (await openTestStorage(t, path)).close();
  const database = connect(t, path);
  const gate = createGateMemory();
  const told: (UnavailableReason | null)[] = [];
  const checkpoints = startCheckpoints({
    database, path, gate: createSnapshotGate(gate), requireFiles() {},
    remains: createRemains({ database, path, cleanForMs: 1 }), onChange: (reason) => told.push(reason),
  });
  t.after(() => checkpoints.close());
  const said = await startLongRead(t, path, gate);
  fillLog(database, 64);
  checkpoints.wrote();
  const small = logBytes(path);
  fillLog(database, LARGE_LOG_MEBIBYTES);
  assert.ok(small > 64 * MEBIBYTE);
  assert.deepEqual(said, ['reading']);
  await waitFor('its end', () => said.length > 1);
  assert.deepEqual(said, ['reading', 'the read kept the log from being emptied']);
  await waitFor('a short log', () => logBytes(path) < MEBIBYTE);
  await waitFor('all well', () => told.at(-1) === null);
  assert.deepEqual(told, ['a reader keeps the log from being emptied', null]);
});
