/** Several receivers in front of one server, whose sessions end at any moment. */
import assert from 'node:assert/strict';
import { connect, createServer, type Socket } from 'node:net';
import { after, describe, test, type TestContext } from 'node:test';
import type { AppendOutcome, Storage, StoredMessages } from '../../../src/storage/storage.ts';
import { freePort } from '../../support/free-port.ts';
import { message } from '../../support/messages.ts';
import { isInstalled, NOT_INSTALLED, type Postgres, startPostgres } from '../../support/postgres.ts';
import { appendSurely, openOn } from '../../support/postgres-storage.ts';
import { NOT_LISTENING } from '../../support/storage.ts';
import type { Scope } from '../../support/temporary.ts';
import { waitFor } from '../../support/wait.ts';

const MESSAGES = 3000;
const AT_ONCE = 40;
const KILLS = 12;
const QUERY_TIMEOUT_MS = 1000;
const BATCH_BYTES = 400_000;

if (isInstalled) {
  const server = await startPostgres({ after });
  describe('receivers of one server', () => testOn(server));
} else {
  test('receivers of one server', { skip: NOT_INSTALLED }, () => {});
}

/** Sends each as often as it takes, and tells how each ended. */
async function appendAll(storage: Storage, ids: readonly string[], ended: (outcome: AppendOutcome) => void): Promise<void> {
  let next = 0;
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    for (let index = next++; index < ids.length; index = next++) {
      const sent = message({ message_id: ids[index] ?? '' });
      ended(await appendSurely(storage, sent));
    }
  }));
}

/** Follows what is stored until there are so many. */
async function follow(storage: Storage, count: number): Promise<string[]> {
  const seen: string[] = [];
  for (let after = storage.beforeAll; seen.length < count;) {
    const part: StoredMessages = await waitFor('a part', () => storage.stored({ after, limit: 50 }).catch(() => undefined));
    seen.push(...part.items.map((item) => item.message.message_id));
    after = part.through;
  }
  return seen;
}

/** Hands on to the server, until it loses the answer to a commit. */
async function startLossy(scope: Scope, target: number) {
  const port = await freePort();
  const sockets = new Set<Socket>();
  let losesAnswer = false;
  let left = Infinity;
  const lossy = createServer((client) => {
    const upstream = connect(target, '127.0.0.1');
    for (const socket of [client, upstream]) sockets.add(socket.on('error', () => {}));
    client.on('data', (chunk: Buffer) => {
      upstream.write(chunk.subarray(0, left));
      left = Math.max(0, left - chunk.length);
    }).on('close', () => left > 0 && upstream.destroy());
    upstream.on('close', () => client.destroy()).on('data', (chunk: Buffer) => {
      if (!losesAnswer || !chunk.includes('COMMIT')) return void client.write(chunk);
      losesAnswer = false;
      client.destroy();
    });
  }).listen(port, '127.0.0.1');
  scope.after(() => {
    lossy.close();
    for (const socket of sockets) socket.destroy();
  });
  await waitFor('the proxy', () => lossy.listening);
  return {
    port,
    /** The next answer to a commit is lost, with its connection. */
    loseAnswer: () => { losesAnswer = true; },
    /** So many bytes go to the server yet, and then none; it does not learn of any end. */
    cutOffAfter: (bytes: number) => { left = bytes; },
    hasCutOff: () => left === 0,
  };
}

function testOn(server: Postgres): void {
  const sessionsOf = (database: string) => server.sql(
    `SELECT pid FROM pg_stat_activity WHERE datname = '${database}' AND application_name = 'webhook-inbox' ORDER BY pid`);

  test('store each message once, in one order that none who follows sees a gap in, while sessions are ended at random', async (t) => {
    const database = await server.createDatabase();
    const open = () => openOn(t, [server.target(database)], { queryTimeoutMs: QUERY_TIMEOUT_MS });
    const receivers = await Promise.all([open(), open(), open()]);
    const ids = Array.from({ length: MESSAGES }, (_, index) => `m${index}`);
    const outcomes: AppendOutcome[] = [];
    // Each gets all of them, in another order.
    const writing = receivers.map((storage, index) => appendAll(
      storage, [...ids.slice(index * 1000), ...ids.slice(0, index * 1000)], (outcome) => void outcomes.push(outcome)));
    const following = receivers.map((storage) => follow(storage, MESSAGES));
    const killing = (async () => {
      for (let kill = 1; kill <= KILLS; kill += 1) {
        await waitFor('its turn', () => outcomes.length >= (kill * 3 * MESSAGES) / (KILLS + 2));
        await server.sql(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${database}' AND random() < 0.3`);
      }
    })();
    await Promise.all([...writing, killing]);
    const order = (await server.sql('SELECT message_id FROM messages ORDER BY id', database)).split('\n');
    assert.deepEqual(order.toSorted(), ids.toSorted());
    for (const seen of await Promise.all(following)) assert.deepEqual(seen, order);
    // One whose acknowledgement was lost is told to be a repeat.
    assert.equal(outcomes.length, 3 * MESSAGES);
    assert.ok(outcomes.filter((outcome) => outcome === 'stored').length <= MESSAGES);
    assert.ok(!outcomes.includes('conflicting_duplicate'));
    const counted = 'SELECT messages, senders, (SELECT sum(messages) FROM senders), (SELECT sum(messages) FROM arrivals), (SELECT sum(messages) FROM instants) FROM inbox';
    assert.equal(await server.sql(counted, database), `${MESSAGES}|1|${MESSAGES}|${MESSAGES}|${2 * MESSAGES}`);
  });

  test('do not take a commit for done whose answer is lost; its repeat finds out', async (t) => {
    const database = await server.createDatabase();
    const { port, loseAnswer } = await startLossy(t, server.port);
    const storage = await openOn(t, [{ ...server.target(database), host: server.host, port }]);
    await appendSurely(storage, message({ message_id: 'first' }));
    const isLost = { reason: 'the outcome of the commit is not known' };
    loseAnswer();
    await assert.rejects(storage.append(message()), isLost);
    await waitFor('the commit', async () => await server.sql('SELECT count(*) FROM messages', database) === '2');
    assert.equal(await appendSurely(storage, message()), 'duplicate');
    assert.equal(await server.sql('SELECT count(*) FROM messages', database), '2');
  });

  test('go on where another one is cut off while its batch is on its way', async (t) => {
    const database = await server.createDatabase();
    const { port, cutOffAfter, hasCutOff } = await startLossy(t, server.port);
    const cutOff = await openOn(t, [{ ...server.target(database), host: server.host, port }]);
    await appendSurely(cutOff, message());
    const other = await openOn(t, [server.target(database)]);
    cutOffAfter(BATCH_BYTES / 2);
    const text = 'x'.repeat(BATCH_BYTES / 100);
    const lost = Promise.allSettled(Array.from({ length: 100 }, (_, index) => cutOff.append(message({ message_id: `lost ${index}`, text }))));
    await waitFor('the cut', hasCutOff);
    await appendSurely(other, message({ message_id: 'm2' }));
    assert.ok((await lost).every(({ status }) => status === 'rejected'));
    await appendSurely(other, message({ message_id: 'm3' }));
    assert.equal((await other.stats()).total, 3);
  });

  test('keep their sessions where the server ends idle ones, and have it look whether they are still there', async (t) => {
    const database = await server.createDatabase();
    await server.sql(`ALTER DATABASE ${database} SET idle_session_timeout = '300ms'`);
    const lost: string[] = [];
    const storage = await openOn(t, [{ ...server.target(database), host: server.host }], {
      observer: { ...NOT_LISTENING, notice: (_, event) => void (event === 'storage_disconnected' && lost.push(event)) },
    });
    await storage.append(message());
    const idleSeconds = async () => Number(await server.sql(
      `SELECT max(extract(epoch FROM now() - state_change)) FROM pg_stat_activity WHERE datname = '${database}' AND state = 'idle'`));
    await storage.list({ limit: 1, offset: 0 });
    await waitFor('a session that has done nothing for longer', async () => await idleSeconds() > 1);
    assert.equal((await storage.list({ limit: 1, offset: 0 })).total, 1);
    assert.deepEqual(lost, []);
  });

  test('lose no session to a read that takes long, in one step or in several', async (t) => {
    const database = await server.createDatabase();
    const storage = await openOn(t, [server.target(database)], { queryTimeoutMs: QUERY_TIMEOUT_MS });
    await storage.append(message());
    const sessions = await sessionsOf(database);
    await holdLocks(t, database);
    await assert.rejects(storage.list({ limit: 1, offset: 0, from: message().from }), { reason: 'a read took too long' });
    await waitFor('reads', () => storage.list({ limit: 1, offset: 0, from: message().from }).then(({ total }) => total === 1, () => false));
    assert.equal(await storage.append(message({ message_id: 'm2' })), 'stored');
    assert.equal(await sessionsOf(database), sessions);
  });

  /** A page waits for most of its time, and then what counts it for even longer. */
  async function holdLocks(t: TestContext, database: string): Promise<void> {
    const hold = (table: string, ms: number) => server.sql(
      `BEGIN; LOCK TABLE ${table} IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(${ms / 1000}); COMMIT`, database);
    const held = Promise.all([hold('messages', 0.8 * QUERY_TIMEOUT_MS), hold('senders', 2.5 * QUERY_TIMEOUT_MS)]);
    t.after(async () => void await held);
    await waitFor('the locks', async () => await server.sql('SELECT count(*) FROM pg_locks WHERE mode = \'AccessExclusiveLock\' AND granted AND relation IN (\'messages\'::regclass, \'senders\'::regclass)', database) === '2');
  }
}
