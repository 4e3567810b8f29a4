/** A file of version 3, which knew neither erasure nor retention, and the read index beside it. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { EARLIER_SCHEMAS } from '../../../support/earlier-schemas.ts';
import { message } from '../../../support/messages.ts';
import { openTestStorage } from '../../../support/storage.ts';
import { temporaryFolder } from '../../../support/temporary.ts';
import { waitFor } from '../../../support/wait.ts';

const MESSAGES = 300;
const FIRST = message({ message_id: 'a', from: '+12', to: '+13', text: 'text' });
/** As they were before: every third message is of the one sender, and every fourth has no time of receipt. */
const later = Array.from({ length: MESSAGES }, (_, index) => message({
  message_id: `m${index}`, from: index % 3 === 0 ? '+1414' : '+1515', ts: new Date(Date.UTC(2025, 1, 1) + index * 1000).toISOString(),
}));
const GENERATION = '0123456789abcdef';

function open<Result>(path: string, use: (database: DatabaseSync) => Result): Result {
  const database = new DatabaseSync(path);
  try {
    return use(database);
  } finally {
    database.close();
  }
}

const rowsOf = (path: string) => open(path, (database) => database.prepare('SELECT count(*) AS rows FROM messages').get()?.['rows']);

function makeFile(path: string): void {
  open(path, (database) => {
    database.exec(EARLIER_SCHEMAS[3]);
    const insert = database.prepare('INSERT INTO messages VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)');
    later.forEach(({ message_id, from, to, ts, text }, index) =>
      insert.run(message_id, from, to, ts, text, ts.replace(/\.000Z$/, ''), index % 4 === 0 ? null : 1_740_000_000_000 + index));
    database.exec(`UPDATE inbox SET messages = messages + ${MESSAGES}`);
  });
  // Of its own shape, and it says nothing true.
  open(`${path}-index`, (index) => index.exec(`
    CREATE TABLE progress(
      only_row INTEGER PRIMARY KEY, generation TEXT NOT NULL, edits INTEGER NOT NULL, indexed_through INTEGER NOT NULL,
      messages INTEGER NOT NULL, senders INTEGER NOT NULL
    );
    INSERT INTO progress VALUES (1, '${GENERATION}', 0, ${MESSAGES + 1}, 7, 7);
    PRAGMA user_version = 4`));
}

test('is upgraded with nothing lost and its positions good, gets another index, and its messages can be erased', async (t) => {
  const path = join(temporaryFolder(t), 'app.db');
  makeFile(path);
  const notices: string[] = [];
  const storage = await openTestStorage(t, path, { notice: (_level, event) => notices.push(event) });
  await waitFor('the index', () => storage.degraded().length === 0 && storage.indexLag() === 0);
  assert.ok(notices.includes('index_made_anew'), notices.join());
  const everything = await storage.stored({ after: storage.beforeAll, limit: 1000 });
  assert.deepEqual(everything.items.map((item) => item.message), [FIRST, ...later]);
  assert.deepEqual(everything.items.map(({ receivedAt }) => receivedAt).slice(0, 3), [1_736_935_200_000, null, 1_740_000_000_001]);
  assert.deepEqual((await storage.stats()).topSenders,
    [{ from: '+1515', count: 200 }, { from: '+1414', count: 100 }, { from: '+12', count: 1 }]);
  assert.ok(await storage.holds({ generation: GENERATION, sequence: '5' }));
  assert.equal(await storage.append(FIRST), 'duplicate');

  assert.equal(await storage.erase({ from: '+1414' }, 'request'), 100);
  assert.equal((await storage.stats()).total, MESSAGES - 100 + 1);
  await waitFor('the removal', () => rowsOf(path) === MESSAGES - 99);
  await storage.close();
  const again = await openTestStorage(t, path);
  assert.deepEqual((await again.stats()).topSenders, [{ from: '+1515', count: 200 }, { from: '+12', count: 1 }]);
  assert.equal(await again.append(message({ message_id: 'm0' })), 'duplicate');
  assert.equal((await again.list({ limit: 1, offset: 0, from: '+1414' })).total, 0);
});

test('has messages without a time of receipt, which never expire, among others, which do', async (t) => {
  const path = join(temporaryFolder(t), 'app.db');
  makeFile(path);
  const storage = await openTestStorage(t, path, {}, { retention: { keepMs: 1000, rememberMs: 1e12 } });
  await waitFor('the undated ones', async () => (await storage.list({ limit: 1, offset: 0 })).total === MESSAGES / 4);
  await waitFor('the removal', () => rowsOf(path) === MESSAGES / 4);
  const { items } = await storage.stored({ after: storage.beforeAll, limit: 1000 });
  assert.deepEqual(items.map((item) => item.message), later.filter((_, index) => index % 4 === 0));
  assert.equal(await storage.append(FIRST), 'duplicate');
});
