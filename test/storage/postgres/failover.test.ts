/** Whatever happens to the primary: its successor is found, nothing that was acknowledged is lost, and nothing answers from before. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { Storage, StoredMessages } from '../../../src/storage/storage.ts';
import { message } from '../../support/messages.ts';
import { isInstalled, NOT_INSTALLED, type Postgres, startPostgres, startStandby, waitForStandby } from '../../support/postgres.ts';
import { appendSurely, openOn, type PostgresTestOptions } from '../../support/postgres-storage.ts';
import type { Scope } from '../../support/temporary.ts';
import { waitFor } from '../../support/wait.ts';

const QUERY_TIMEOUT_MS = 2000;
/** What a call may take, and what a busy machine may add. */
const SETTLED_MS = 5000 + 2500;
const PAUSE_MS = 20;

async function startPair(scope: Scope, { isSynchronous }: { readonly isSynchronous: boolean }) {
  const primary = await startPostgres(scope);
  const standby = await startStandby(scope, primary);
  await waitForStandby(primary, { isSynchronous });
  const database = await primary.createDatabase();
  await waitFor('the database', async () => await standby.sql(`SELECT count(*) FROM pg_database WHERE datname = '${database}'`) === '1');
  async function openBoth(options: PostgresTestOptions = {}): Promise<Storage> {
    return await openOn(scope, [primary.target(database), standby.target(database)], { queryTimeoutMs: QUERY_TIMEOUT_MS, ...options });
  }
  const hostOf = (server: Postgres) => server.target(database).host;
  return { primary, standby, database, openBoth, hostOf };
}

const promote = (standby: Postgres) => standby.sql('SELECT pg_promote()');

/** Stores one message after another, and reads, until it is told to stop; every call has to settle in time. */
function keepBusy(storage: Storage) {
  const acknowledged: string[] = [];
  let isStopped = false;
  /** Undefined where it is refused; on a busy machine the timer is late as well. */
  const settled = <Result>(call: Promise<Result>): Promise<Result | undefined> => Promise.race([
    call.catch(() => undefined), delay(SETTLED_MS, undefined, { ref: false }).then(() => assert.fail('a call did not settle in time')),
  ]);
  async function write(): Promise<void> {
    for (let sent = 0; !isStopped; sent += 1) {
      const message_id = `m${sent}`;
      while (await settled(storage.append(message({ message_id }))) === undefined) await delay(PAUSE_MS);
      acknowledged.push(message_id);
    }
  }
  async function read(): Promise<void> {
    while (!isStopped) {
      const before = acknowledged.length;
      const stats = await settled(storage.stats());
      if (stats === undefined) await delay(PAUSE_MS);
      else assert.ok(stats.total >= before, `${before} acknowledged, ${stats.total} read`);
    }
  }
  const working = Promise.all([write(), read()]);
  working.catch(() => {});
  return {
    acknowledged,
    async stop(): Promise<void> {
      isStopped = true;
      await working;
    },
  };
}

async function storedIds(storage: Storage): Promise<string[]> {
  const ids: string[] = [];
  for (let after = storage.beforeAll, isAll = false; !isAll;) {
    const part: StoredMessages = await storage.stored({ after, limit: 500 });
    ids.push(...part.items.map((item) => item.message.message_id));
    ({ through: after, isAll } = part);
  }
  return ids;
}

describe('a failover', { skip: !isInstalled && NOT_INSTALLED, concurrency: 2 }, () => {
  const ways: Record<string, (primary: Postgres) => void | Promise<void>> = {
    'is killed': (primary) => primary.kill(),
    'is frozen': (primary) => primary.freeze(),
    'is told to take no writes': (primary) => primary.set('default_transaction_read_only', 'on'),
  };
  for (const [way, happen] of Object.entries(ways)) {
    test(`loses nothing where the primary ${way}`, async (t) => {
      const { primary, standby, openBoth, hostOf } = await startPair(t, { isSynchronous: true });
      let failovers = 0;
      const storage = await openBoth({ observer: { failedOver: () => { failovers += 1; } } });
      const { generation } = storage;
      assert.equal(storage.engine().host, hostOf(primary));
      const { acknowledged, stop } = keepBusy(storage);
      await waitFor('some messages', () => acknowledged.length >= 20);
      await happen(primary);
      const soFar = acknowledged.length;
      await promote(standby);
      await waitFor('more', () => acknowledged.length >= soFar + 20);
      await stop();
      assert.equal(storage.engine().host, hostOf(standby));
      assert.deepEqual(await storedIds(storage), acknowledged);
      assert.equal(failovers, 1);
      assert.notEqual(storage.generation, generation);
      const { items } = await storage.stored({ after: storage.beforeAll, limit: soFar });
      const newest = await storage.newestSequence();
      assert.ok(await storage.holds({ generation, sequence: items.at(-1)?.sequence ?? '' }));
      assert.ok(!await storage.holds({ generation, sequence: newest }));
      assert.ok(await storage.holds({ generation: storage.generation, sequence: newest }));
      if (way === 'is killed') return;

      // It comes back, takes writes, and does not know of its successor.
      primary.thaw();
      await primary.set('synchronous_standby_names', '');
      await primary.set('default_transaction_read_only', 'off');
      const other = await openBoth();
      assert.equal(other.engine().host, hostOf(standby));
      await standby.sql('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = \'webhook-inbox\'');
      for (const one of [storage, other]) {
        const total = await waitFor('an answer', () => one.stats().then((stats) => stats.total, () => undefined));
        assert.deepEqual([total, one.engine().host], [acknowledged.length, hostOf(standby)]);
      }
      await standby.kill();
      await waitFor('the loss', () => !storage.engine().isConnected);
      await assert.rejects(storage.probe());
      await waitFor('that it is told', () => storage.append(message()).then(assert.fail, ({ reason }) => reason === 'no PostgreSQL server takes writes'));
    });
  }

  test('is seen also by who only reads, before anything else is stored', async (t) => {
    const { primary, standby, openBoth, hostOf } = await startPair(t, { isSynchronous: false });
    const reader = await openBoth();
    assert.equal(reader.engine().host, hostOf(primary));
    await waitFor('the tables', async () => await standby.sql('SELECT to_regclass(\'inbox\')', 'test_1') === 'inbox');
    await primary.set('default_transaction_read_only', 'on');
    await promote(standby);
    const writer = await openBoth();
    await appendSurely(writer, message());
    const reads = await Promise.allSettled([reader.stats(), reader.list({ limit: 1, offset: 0 }), reader.list({ limit: 1, offset: 0, q: 'Hell' })]);
    for (const read of reads) assert.ok(read.status === 'rejected' || read.value.total === 1);
    await waitFor('it', () => reader.stats().then(({ total }) => total === 1, () => false));
  });

  test('that loses messages, as replication was asynchronous, takes back the positions of those alone', async (t) => {
    const { primary, standby, database, openBoth } = await startPair(t, { isSynchronous: false });
    const storage = await openBoth();
    const { generation } = storage;
    for (const message_id of ['1', '2']) await appendSurely(storage, message({ message_id }));
    const kept = await storage.newestSequence();
    await waitFor('the first two', async () => await standby.sql('SELECT count(*) FROM messages', database).catch(() => '') === '2');
    await standby.set('primary_conninfo', '');
    await waitFor('the end of replication', async () => await primary.sql('SELECT count(*) FROM pg_stat_replication') === '0');
    for (const message_id of ['3', '4']) await appendSurely(storage, message({ message_id }));
    const lost = await storage.newestSequence();
    await primary.kill();
    await promote(standby);
    await appendSurely(storage, message({ message_id: '5' }));
    assert.deepEqual(await storedIds(storage), ['1', '2', '5']);
    for (const message_id of ['6', '7', '3']) await appendSurely(storage, message({ message_id }));
    assert.deepEqual(await storedIds(storage), ['1', '2', '5', '6', '7', '3']);
    assert.ok(await storage.holds({ generation, sequence: kept }));
    assert.ok(!await storage.holds({ generation, sequence: lost }));
    assert.ok(await storage.holds({ generation: storage.generation, sequence: lost }));
  });
});
