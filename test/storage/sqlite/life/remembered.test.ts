/** For how long the id of a message that is gone is known, and that nothing else is kept of it. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import type { Storage } from '../../../../src/storage/storage.ts';
import { message } from '../../../support/messages.ts';
import { openTestStorage } from '../../../support/storage.ts';
import { select } from '../../../support/stored-rows.ts';
import { temporaryFolder } from '../../../support/temporary.ts';
import { waitFor } from '../../../support/wait.ts';

const DAY = 86_400_000;
const RETENTION = { keepMs: DAY, rememberMs: 3 * DAY };

const read = (path: string, sql: string) => select(path, sql)[0]?.['value'];

function createInbox(t: TestContext) {
  const path = join(temporaryFolder(t), 'app.db');
  let now = Date.UTC(2025, 0, 15);
  return {
    path,
    advance: (ms: number) => { now += ms; },
    open: () => openTestStorage(t, path, {}, { now: () => now, retention: RETENTION }),
    rows: () => read(path, 'SELECT count(*) AS value FROM messages'),
    remembered: () => read(path, 'SELECT count(*) AS value FROM remembered'),
  };
}

const store = (storage: Storage, message_id: string) => storage.append(message({ message_id, text: 'again, and other' }));

test('an expired id is known exactly until its time has passed, and then it can be stored again, to expire again', async (t) => {
  const inbox = createInbox(t);
  let storage = await inbox.open();
  await storage.append(message({ message_id: 'expired' }));
  inbox.advance(DAY + 1);
  await waitFor('the removal', () => inbox.rows() === 0 && inbox.remembered() === 1);
  inbox.advance(RETENTION.rememberMs - 1);
  assert.equal(await store(storage, 'expired'), 'duplicate');
  await storage.close();
  storage = await inbox.open();
  assert.equal(await store(storage, 'expired'), 'duplicate');
  inbox.advance(1);
  assert.equal(await store(storage, 'expired'), 'stored');
  assert.equal((await storage.list({ limit: 1, offset: 0 })).total, 1);
  inbox.advance(DAY + 1);
  await waitFor('the second removal', () => inbox.rows() === 0);
  assert.equal(await store(storage, 'expired'), 'duplicate');
  inbox.advance(RETENTION.rememberMs + 1);
  await waitFor('nothing of it', () => inbox.remembered() === 0);
});

test('an erased id is known for ever, also where it had expired before, and where others are forgotten', async (t) => {
  const inbox = createInbox(t);
  let storage = await inbox.open();
  for (const message_id of ['erased', 'expired', 'erased again']) await storage.append(message({ message_id }));
  assert.equal(await storage.erase({ message_id: 'erased' }, 'request'), 1);
  inbox.advance(DAY + 1);
  await waitFor('the removal', () => inbox.rows() === 0 && inbox.remembered() === 3);
  // Known for a while, stored again after it, and then known for ever.
  inbox.advance(RETENTION.rememberMs);
  assert.equal(await store(storage, 'erased again'), 'stored');
  assert.equal(await storage.erase({ message_id: 'erased again' }, 'request'), 1);
  await waitFor('the second removal', () => inbox.rows() === 0);
  await storage.close();
  inbox.advance(100 * 365 * DAY);
  storage = await inbox.open();
  const requireKnown = async () => {
    for (const message_id of ['erased', 'erased again']) assert.equal(await store(storage, message_id), 'duplicate');
  };
  await requireKnown();
  await waitFor('the other to be forgotten', () => inbox.remembered() === 2);
  await requireKnown();
  assert.equal(await store(storage, 'expired'), 'stored');
  assert.equal((await storage.stats()).total, 1);
});

test('the key of the ids stays, and another database has another', async (t) => {
  const [inbox, other] = [createInbox(t), createInbox(t)];
  const keyOf = ({ path }: typeof inbox) => read(path, 'SELECT hex(id_key) AS value FROM inbox');
  await (await inbox.open()).close();
  await (await other.open()).close();
  const key = keyOf(inbox);
  assert.match(String(key), /^[0-9A-F]{64}$/);
  await (await inbox.open()).close();
  assert.equal(keyOf(inbox), key);
  assert.notEqual(keyOf(other), key);
});

test('what has expired while nothing ran is in no answer, from the first on', async (t) => {
  const inbox = createInbox(t);
  const before = await inbox.open();
  await before.append(message());
  await before.close();
  inbox.advance(DAY + 1);
  const storage = await inbox.open();
  assert.deepEqual([(await storage.list({ limit: 1, offset: 0 })).total, (await storage.stats()).total], [0, 0]);
});
