/** A commit counts once it is on the synchronous standby too, whatever a session is told otherwise. */
import assert from 'node:assert/strict';
import { after, describe, test, type TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { Storage } from '../../../src/storage/storage.ts';
import { message } from '../../support/messages.ts';
import { isInstalled, NOT_INSTALLED, type Postgres, startPostgres, startStandby, waitForStandby } from '../../support/postgres.ts';
import { openOn } from '../../support/postgres-storage.ts';
import { waitFor } from '../../support/wait.ts';

/** What an append may take that is refused, and what a busy machine may add. */
const SETTLED_MS = 5000 + 2000;
/** Far longer than a commit takes. */
const A_WHILE_MS = 300;

if (isInstalled) {
  const primary = await startPostgres({ after });
  const standby = await startStandby({ after }, primary);
  await waitForStandby(primary, { isSynchronous: true });
  describe('with a synchronous standby', () => testOn(primary, standby));
} else {
  test('a synchronous standby', { skip: NOT_INSTALLED }, () => {});
}

const isThere = (primary: Postgres, database: string) => async () => await primary.sql('SELECT count(*) FROM messages', database) === '1';
/** Resolves with the reason why an append is refused, which has to come in time. */
async function reasonOf(append: Promise<unknown>): Promise<unknown> {
  // On a busy machine this timer is late as well.
  return await Promise.race([append.then((outcome) => outcome, ({ reason: why }) => why), delay(SETTLED_MS, 'nothing in time', { ref: false })]);
}

function testOn(primary: Postgres, standby: Postgres): void {
  const stopStandby = (t: TestContext) => {
    standby.freeze();
    t.after(() => standby.thaw());
  };
  const waiting = (database: string) => waitFor('a commit that waits for the standby', async () => await primary.sql(
    `SELECT pid FROM pg_stat_activity WHERE datname = '${database}' AND wait_event = 'SyncRep'`) || undefined);
  /** Ends the wait of a commit by a function of the server. */
  const interrupt = async (how: 'pg_cancel_backend' | 'pg_terminate_backend', database: string) => primary.sql(`SELECT ${how}(${await waiting(database)})`);
  async function isPending(append: Promise<unknown>): Promise<void> {
    assert.equal(await Promise.race([append.catch(() => 'refused'), delay(A_WHILE_MS, 'pending')]), 'pending');
  }

  test('a commit waits for it', async (t) => {
    const database = await primary.createDatabase();
    const storage = await openOn(t, [primary.target(database)], { requiresStandby: true });
    stopStandby(t);
    const append = storage.append(message());
    await isPending(append);
    standby.thaw();
    assert.equal(await append, 'stored');
  });

  test('and is refused in time where that does not come, by whatever a session is set to; reads go on', async (t) => {
    const storages = await Promise.all([undefined, 'off', 'local', 'remote_write'].map(async (level) => {
      const database = await primary.createDatabase();
      if (level !== undefined) await primary.sql(`ALTER DATABASE ${database} SET synchronous_commit = ${level}`);
      return await openOn(t, [primary.target(database)]);
    }));
    stopStandby(t);
    const begin = performance.now();
    const reasons = await Promise.all(storages.map((storage) => reasonOf(storage.append(message()))));
    for (const reason of reasons) assert.equal(reason, 'the outcome of the commit is not known');
    assert.ok(performance.now() - begin > A_WHILE_MS);
    // The commits still wait, and hold their locks.
    for (const storage of storages) await waitFor('reads', () => storage.stats().then(({ total }) => total === 0, () => false));
    const repeats = storages.map((storage) => storage.append(message()));
    for (const reason of await Promise.all(repeats.map(reasonOf))) assert.notEqual(reason, 'duplicate');
    standby.thaw();
    await Promise.all(storages.map((storage) => acceptsAgain(storage)));
  });

  async function acceptsAgain(storage: Storage): Promise<void> {
    await waitFor('its repeat', () => storage.append(message()).then((outcome) => outcome === 'duplicate', () => false));
    assert.equal((await storage.stats()).total, 1);
  }

  for (const level of ['notice', 'error']) {
    test(`a wait that is cancelled is no acknowledgement, where the user hears ${level}s; neither is its repeat`, async (t) => {
      const database = await primary.createDatabase();
      await primary.sql(`ALTER DATABASE ${database} SET client_min_messages = ${level}`);
      let cuts = 0;
      const storage = await openOn(t, [primary.target(database)], { observer: { replicationCut: () => { cuts += 1; } } });
      stopStandby(t);
      const append = storage.append(message());
      append.catch(() => {});
      await interrupt('pg_cancel_backend', database);
      assert.equal(await reasonOf(append), 'the commit was not replicated');
      assert.equal(cuts, 1);
      await waitFor('what is committed here alone', isThere(primary, database));
      const repeat = storage.append(message());
      await isPending(repeat);
      standby.thaw();
      assert.equal(await repeat, 'duplicate');
    });
  }

  test('a wait whose session is ended is no acknowledgement', async (t) => {
    const database = await primary.createDatabase();
    const storage = await openOn(t, [primary.target(database)]);
    stopStandby(t);
    const append = storage.append(message());
    append.catch(() => {});
    await interrupt('pg_terminate_backend', database);
    assert.equal(await reasonOf(append), 'the outcome of the commit is not known');
    await waitFor('what is committed here alone', isThere(primary, database));
    let isStanding = false;
    const repeat = waitFor('its repeat', () => storage.append(message()).then((outcome) => {
      assert.ok(isStanding);
      return outcome;
    }, () => undefined));
    await waiting(database);
    await isPending(repeat);
    isStanding = true;
    standby.thaw();
    assert.equal(await repeat, 'duplicate');
  });

  test('a commit is not only received but applied there where the user wants that', async (t) => {
    const database = await primary.createDatabase();
    await primary.sql(`ALTER DATABASE ${database} SET synchronous_commit = remote_apply`);
    const storage = await openOn(t, [primary.target(database)]);
    await standby.sql('SELECT pg_wal_replay_pause()');
    t.after(() => standby.sql('SELECT pg_wal_replay_resume()').then(() => {}));
    const append = storage.append(message());
    await isPending(append);
    await standby.sql('SELECT pg_wal_replay_resume()');
    assert.equal(await append, 'stored');
    assert.equal(await standby.sql('SELECT count(*) FROM messages', database), '1');
  });
}
