/** Erasing and expiring, with several receivers of one server, whose sessions end meanwhile. */
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { after, describe, test, type TestContext } from 'node:test';
import type { Message } from '../../../src/message.ts';
import type { Erasure, Storage } from '../../../src/storage/storage.ts';
import { message } from '../../support/messages.ts';
import { isInstalled, NOT_INSTALLED, type Postgres, startPostgres } from '../../support/postgres.ts';
import { appendSurely, openOn, type PostgresTestOptions } from '../../support/postgres-storage.ts';
import { wrongCountsOf } from '../../support/stored-rows.ts';
import { waitFor } from '../../support/wait.ts';

/** More than one step takes, and than are found at once. */
const MANY = 11_000;
const KEEP_MS = 86_400_000;
const REMEMBER_MS = 3_600_000;
const EVERYTHING = { limit: 100, offset: 0 };

if (isInstalled) {
  const server = await startPostgres({ after });
  describe('erasing', () => testErasing(server));
  describe('expiring', () => testExpiring(server));
} else {
  test('the life of a message', { skip: NOT_INSTALLED }, () => {});
}

const numbered = (index: number): Message => message({
  message_id: `m${index}`, from: `+1${index % 7}`, to: `+2${index % 3}`, ts: `2025-01-${10 + index % 20}T10:${10 + index % 50}:00Z`,
});

async function appendAll(storage: Storage, messages: readonly Message[]): Promise<void> {
  for (let begin = 0; begin < messages.length; begin += 500) {
    await Promise.all(messages.slice(begin, begin + 500).map((one) => appendSurely(storage, one)));
  }
}

function testErasing(server: Postgres): void {
  const open = (t: TestContext, database: string, options: PostgresTestOptions = {}) => openOn(t, [server.target(database)], options);

  test('takes out what matches in many steps, and counts and pages are right after each', async (t) => {
    const database = await server.createDatabase();
    const storage = await open(t, database);
    const sent = Array.from({ length: MANY }, (_, index) => ({ ...numbered(index), from: '+10' }));
    await appendAll(storage, [...sent, numbered(MANY + 1)]);
    const erasing = storage.erase({ from: '+10' }, 'r1').then((erased) => ({ erased }));
    const wrong: string[] = [];
    const totals: number[] = [];
    for (let done: object | undefined; done === undefined; done = await Promise.race([erasing, undefined])) {
      wrong.push(await wrongCountsOf(server, database));
      totals.push((await storage.list({ ...EVERYTHING, from: '+10' })).total);
    }
    assert.deepEqual(await erasing, { erased: MANY });
    assert.deepEqual([new Set(wrong), totals], [new Set(['']), totals.toSorted((a, b) => b - a)]);
    assert.equal(await wrongCountsOf(server, database), '');
    assert.deepEqual((await storage.list(EVERYTHING)).items, [numbered(MANY + 1)]);
    assert.equal(await server.sql('SELECT request_id, messages FROM erasures', database), `r1|${MANY}`);
  });

  test('keeps an HMAC of each id under a key of the database, and no id, sender or text', async (t) => {
    const keys = new Set<string>();
    for (let round = 0; round < 2; round += 1) {
      const database = await server.createDatabase();
      const storage = await open(t, database);
      await appendAll(storage, [message({ message_id: 'é😀' }), message({ message_id: 'other' })]);
      assert.equal(await storage.erase({ message_id: 'é😀' }, 'r1'), 1);
      const [inner = '', outer = ''] = (await server.sql(`SELECT encode(id_inner_key, 'hex'), encode(id_outer_key, 'hex') FROM inbox`, database)).split('|');
      const [key = Buffer.of(), same] = [[inner, 0x36] as const, [outer, 0x5c] as const].map(([pad, mask]) =>
        Buffer.from(Buffer.from(pad, 'hex').map((byte) => byte ^ mask)));
      assert.deepEqual(key, same);
      assert.deepEqual(key.subarray(32), Buffer.alloc(32));
      const hash = createHmac('sha256', key.subarray(0, 32)).update('é😀').digest('hex');
      assert.equal(await server.sql(`SELECT encode(hash, 'hex'), until FROM remembered`, database), `${hash}|`);
      assert.equal(await server.sql("SELECT request_id, at > 0, messages FROM erasures", database), 'r1|t|1');
      keys.add(key.toString('hex'));
    }
    assert.equal(keys.size, 2);
  });

  test('notes each request once, also where there was nothing', async (t) => {
    const database = await server.createDatabase();
    const storage = await open(t, database, { now: () => 1_700_000_000_000 });
    await appendAll(storage, [message()]);
    const erasures: readonly [Erasure, number][] = [[{ from: message().from }, 1], [{ from: message().from }, 0], [{ to: '+1' }, 0], [{ message_id: 'x\0' }, 0]];
    for (const [index, [which, erased]] of erasures.entries()) assert.equal(await storage.erase(which, `r${index}`), erased);
    assert.equal(await server.sql('SELECT * FROM erasures ORDER BY request_id', database),
      ['r0|1700000000000|1', 'r1|1700000000000|0', 'r2|1700000000000|0', 'r3|1700000000000|0'].join('\n'));
  });

  test('goes on where its session was ended, as often as it is', async (t) => {
    const database = await server.createDatabase();
    const storage = await open(t, database);
    await appendAll(storage, Array.from({ length: MANY }, (_, index) => numbered(index)));
    const erasing = { to: '+21' };
    const isOpen = () => storage.engine().isConnected;
    for (let kills = 0, erased: number | undefined; erased === undefined;) {
      let isSettled = false;
      const before = await server.sql('SELECT messages FROM inbox', database);
      const attempt = storage.erase(erasing, `r${kills}`).catch(() => undefined).finally(() => { isSettled = true; });
      if (kills < 3) {
        await waitFor('a step', async () => isSettled || await server.sql('SELECT messages FROM inbox', database) !== before);
        await server.sql(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${database}' AND pid <> pg_backend_pid()`);
        kills += 1;
      }
      erased = await attempt;
      await waitFor('the server', isOpen);
    }
    assert.equal((await storage.list({ ...EVERYTHING })).items.filter(({ to }) => to === erasing.to).length, 0);
    assert.equal(await wrongCountsOf(server, database), '');
    const removed = String(Math.ceil((MANY - 1) / 3));
    assert.equal(await server.sql('SELECT sum(messages), (SELECT count(*) FROM remembered) FROM erasures', database), `${removed}|${removed}`);
  });

  test('by several receivers while several store: nothing erased comes back, nothing is lost, every count is right', async (t) => {
    const database = await server.createDatabase();
    const receivers = await Promise.all([open(t, database), open(t, database), open(t, database)]);
    const [first, second, third] = receivers;
    assert.ok(first !== undefined && second !== undefined && third !== undefined);
    const messages = Array.from({ length: 3000 }, (_, index) => numbered(index));
    await appendAll(first, messages.slice(0, 2000));
    const erasures: readonly [Storage, Erasure][] = [
      [first, { from: '+10' }], [second, { from: '+10' }], [third, { to: '+21' }], [second, { to: '+21' }], [first, { message_id: 'm5' }],
    ];
    // Each message comes at each receiver, before, while and after it is erased.
    const [erased] = await Promise.all([
      Promise.all(erasures.map(([storage, which], index) => storage.erase(which, `r${index}`))),
      ...receivers.map((storage) => appendAll(storage, messages.toReversed())),
    ]);
    const gone = await server.sql('SELECT count(*) FROM remembered', database);
    assert.equal(String(erased.reduce((sum, count) => sum + count, 0)), gone);
    const left = await first.list(EVERYTHING);
    assert.equal(left.total + Number(gone), messages.length);
    for (const one of messages.slice(0, 2000).filter(({ from, to, message_id }) => from === '+10' || to === '+21' || message_id === 'm5').slice(0, 50)) {
      assert.equal((await first.list({ ...EVERYTHING, message_id: one.message_id })).total, 0);
      assert.equal(await second.append({ ...one, text: 'other' }), 'duplicate');
    }
    assert.equal(await wrongCountsOf(server, database), '');
  });

  test('touches nothing in tables of another version', async (t) => {
    const database = await server.createDatabase();
    const storage = await open(t, database);
    await appendAll(storage, [message()]);
    await server.sql('UPDATE inbox SET schema_version = 2', database);
    await assert.rejects(storage.erase({ from: message().from }, 'r1'), { reason: 'the tables are of another version' });
    assert.equal(await server.sql('SELECT count(*), (SELECT count(*) FROM erasures) FROM messages', database), '1|0');
  });
}

function testExpiring(server: Postgres): void {
  /** Receivers with one clock. */
  async function openWithClock(t: TestContext, receivers: number) {
    const database = await server.createDatabase();
    const clock = { now: Date.now() };
    const options = { now: () => clock.now, retention: { keepMs: KEEP_MS, rememberMs: REMEMBER_MS } };
    const storages = await Promise.all(Array.from({ length: receivers }, () => openOn(t, [server.target(database)], options)));
    return { database, clock, storages };
  }

  test('lets go what was received too long ago, in steps after each of which all is right, whoever takes them', async (t) => {
    const { database, clock, storages: [storage, ...others] } = await openWithClock(t, 3);
    assert.ok(storage !== undefined);
    await appendAll(storage, Array.from({ length: MANY }, (_, index) => numbered(index)));
    clock.now += 1;
    const late = message({ message_id: 'late', ts: '2001-01-01T00:00:00Z' });
    await appendAll(storage, [late]);
    await server.sql("INSERT INTO messages SELECT newest + 1, 'undated', '+1', '+2', '2001-01-01T00:00:01Z', NULL, '2001-01-01T00:00:01', NULL FROM inbox", database);
    await server.sql(`UPDATE inbox SET newest = newest + 1, messages = messages + 1, senders = senders + 1;
      INSERT INTO senders VALUES ('+1', 1); UPDATE instants SET messages = messages + 1 WHERE prefix LIKE '2001%' AND characters = 10;
      UPDATE instants SET messages = messages + 1 WHERE prefix = '2001-01-01T00:00'`, database);
    clock.now += KEEP_MS;
    const wrong = new Set<string>();
    await waitFor('the end of all', async () => {
      wrong.add(await wrongCountsOf(server, database));
      return (await storage.list(EVERYTHING)).total === 2;
    });
    assert.deepEqual(wrong, new Set(['']));
    for (const reader of [storage, ...others]) {
      assert.deepEqual((await reader.list(EVERYTHING)).items.map(({ message_id }) => message_id), ['late', 'undated']);
    }
    assert.equal(await server.sql(`SELECT count(*), count(*) FILTER (WHERE until = ${clock.now + REMEMBER_MS}) FROM remembered`, database), `${MANY}|${MANY}`);
    assert.equal(await storage.append(numbered(1)), 'duplicate');
  });

  test('forgets the ids of what has expired when it may, and none of what was erased', async (t) => {
    const { database, clock, storages: [storage] } = await openWithClock(t, 2);
    assert.ok(storage !== undefined);
    await appendAll(storage, [message({ message_id: 'expired' }), message({ message_id: 'erased' })]);
    await storage.erase({ message_id: 'erased' }, 'r1');
    clock.now += KEEP_MS + 1;
    await waitFor('the end of it', async () => (await storage.list(EVERYTHING)).total === 0);
    for (const message_id of ['expired', 'erased']) assert.equal(await storage.append(message({ message_id })), 'duplicate');
    clock.now += REMEMBER_MS + 1;
    await waitFor('it to be forgotten', async () => await server.sql('SELECT count(*) FROM remembered', database) === '1');
    assert.deepEqual(await Promise.all([storage.append(message({ message_id: 'expired' })), storage.append(message({ message_id: 'erased' }))]), ['stored', 'duplicate']);
    assert.equal(await wrongCountsOf(server, database), '');
  });

  test('tells where it cannot, and that it can again', async (t) => {
    const database = await server.createDatabase();
    const reasons: (string | null)[] = [];
    await openOn(t, [server.target(database)], { observer: { failing: (_, reason) => void reasons.push(reason) } });
    await waitFor('a sweep', () => reasons.at(-1) === null);
    await server.sql('ALTER TABLE remembered RENAME TO elsewhere', database);
    await waitFor('a failure', () => reasons.at(-1) === 'the database failed');
    await server.sql('ALTER TABLE elsewhere RENAME TO remembered', database);
    await waitFor('the end of it', () => reasons.at(-1) === null);
  });
}
