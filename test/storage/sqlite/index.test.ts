/** The read index lives beside the messages and can be made from them anew: whatever becomes of its file, reads are right. */
import assert from 'node:assert/strict';
import { closeSync, copyFileSync, mkdirSync, openSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, test } from 'node:test';
import { message } from '../../support/messages.ts';
import { REFERENCE_SCHEMA } from '../../support/reference-schema.ts';
import { openTestStorage } from '../../support/storage.ts';
import { temporaryFolder, type Scope } from '../../support/temporary.ts';
import { waitFor } from '../../support/wait.ts';

const EVERYTHING = { limit: 100, offset: 0 };

/** A closed database of so many messages, all in its index, and the generation that it had. */
async function makeInbox(scope: Scope, messages: number) {
  const path = join(temporaryFolder(scope), 'app.db');
  const storage = await openTestStorage(scope, path);
  for (let index = 0; index < messages; index += 1) await storage.append(message({ message_id: `m${index}`, from: `+1${index % 3}` }));
  await storage.close();
  // The start takes in what the end has left.
  await (await openTestStorage(scope, path)).close();
  return { path, generation: storage.generation };
}

/** Opens it, reads it in ways that need the index, and returns the generation that it has now. */
async function requireRight(scope: Scope, path: string, messages: number): Promise<string> {
  const storage = await openTestStorage(scope, path);
  assert.equal((await storage.stats()).total, messages);
  assert.equal((await storage.list({ ...EVERYTHING, from: '+10' })).total, Math.ceil(messages / 3));
  assert.equal((await storage.list({ ...EVERYTHING, since: '2025-01-15T10:00:00', q: 'hell' })).items.length, messages);
  await storage.close();
  return storage.generation;
}

/** A file of the reference schema with 150,000 messages; `ts` is SQL, over their `number` from 1. */
function makeLargeFile(path: string, ts: string): void {
  const database = new DatabaseSync(path);
  database.exec(`
    ${REFERENCE_SCHEMA};
    WITH RECURSIVE numbers(number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM numbers LIMIT 150000)
    INSERT INTO messages SELECT number, 'm' || number, '+12', '+13', ${ts}, hex(randomblob(100)) FROM numbers`);
  database.close();
}

describe('the read index', () => {
  test('is kept over a restart, and the generation with it', async (t) => {
    const { path, generation } = await makeInbox(t, 7);
    const madeAt = statSync(`${path}-index`).ino;
    assert.equal(await requireRight(t, path, 7), generation);
    assert.equal(statSync(`${path}-index`).ino, madeAt);
  });

  test('is brought up to date with what was stored and not yet in it when the process ended', async (t) => {
    const { path, generation } = await makeInbox(t, 7);
    copyFileSync(`${path}-index`, `${path}-early`);
    const storage = await openTestStorage(t, path);
    await storage.append(message({ message_id: 'm7', from: '+11' }));
    await storage.close();
    copyFileSync(`${path}-early`, `${path}-index`);
    assert.equal(await requireRight(t, path, 8), generation);
  });

  const losses: Record<string, (path: string) => void> = {
    'was removed': (path) => rmSync(`${path}-index`),
    'is damaged': (path) => writeFileSync(`${path}-index`, 'x'.repeat(9000)),
    'is empty': (path) => writeFileSync(`${path}-index`, ''),
    'is a database of something else': (path) => {
      rmSync(`${path}-index`);
      new DatabaseSync(`${path}-index`).exec('CREATE TABLE bookmarks(url TEXT)');
    },
  };
  for (const [what, lose] of Object.entries(losses)) {
    test(`is made anew where it ${what}, and positions of before are no longer valid`, async (t) => {
      const { path, generation } = await makeInbox(t, 7);
      lose(path);
      assert.notEqual(await requireRight(t, path, 7), generation);
    });
  }

  test('is made anew where it is of another database, or ahead of an older one that was restored', async (t) => {
    const { path, generation } = await makeInbox(t, 4);
    copyFileSync(path, `${path}-backup`);
    const longer = await openTestStorage(t, path);
    for (const message_id of ['m4', 'm5']) await longer.append(message({ message_id, from: '+15' }));
    await waitFor('the index', () => longer.indexLag() === 0);
    await longer.close();
    copyFileSync(`${path}-backup`, path);
    assert.notEqual(await requireRight(t, path, 4), generation);

    const other = await makeInbox(t, 4);
    copyFileSync(`${other.path}-index`, `${path}-index`);
    assert.equal([generation, other.generation].includes(await requireRight(t, path, 4)), false);
  });

  test('is made anew after another version has made it, and positions stay valid', async (t) => {
    const { path, generation } = await makeInbox(t, 7);
    const index = new DatabaseSync(`${path}-index`);
    index.exec('DELETE FROM senders; PRAGMA user_version = 99');
    index.close();
    assert.equal(await requireRight(t, path, 7), generation);
  });

  const edits = {
    deleted: ["DELETE FROM messages WHERE message_id IN ('m0', 'm3')", 5, 1, 5, true],
    changed: ["UPDATE messages SET from_number = '+19', text = 'other', ts = '2024-01-01T00:00:00Z' WHERE message_id IN ('m0', 'm3')", 7, 1, 5, false],
  } as const;
  for (const [what, [sql, total, ofSender, found, positionsHold]] of Object.entries(edits)) {
    test(`is made anew where another program has ${what} messages`, async (t) => {
      const { path, generation } = await makeInbox(t, 7);
      const editor = new DatabaseSync(path);
      editor.exec(sql);
      editor.close();
      const storage = await openTestStorage(t, path);
      const { total: listed, items } = await storage.list(EVERYTHING);
      assert.deepEqual([listed, items.length, (await storage.stats()).total], [total, total, total]);
      assert.equal((await storage.list({ ...EVERYTHING, from: '+10' })).total, ofSender);
      assert.equal((await storage.list({ ...EVERYTHING, since: '2025-01-15T10:00:00', q: 'hell' })).total, found);
      assert.equal(storage.generation === generation, positionsHold);
    });
  }

  test('is made anew at the start where the indexer meets damage', async (t) => {
    const { path } = await makeInbox(t, 7);
    const events: string[] = [];
    const index = new DatabaseSync(`${path}-index`);
    const root = Number(index.prepare("SELECT rootpage FROM sqlite_schema WHERE name = 'by_sender'").get()?.['rootpage']);
    // As if it had not been there yet, so that it is written.
    index.exec('UPDATE progress SET indexed_through = indexed_through - 1');
    index.close();
    const file = openSync(`${path}-index`, 'r+');
    writeSync(file, Buffer.alloc(4096, 0xff), 0, 4096, (root - 1) * 4096);
    closeSync(file);
    const storage = await openTestStorage(t, path, { notice: (_level, event) => events.push(event) });
    assert.equal((await storage.list({ ...EVERYTHING, from: '+10' })).items.length, 3);
    assert.ok(events.includes('index_made_anew'), events.join());
  });

  test('that another program holds is named at the start, and left as it is', async (t) => {
    const { path, generation } = await makeInbox(t, 7);
    const holder = new DatabaseSync(`${path}-index`);
    holder.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE');
    await assert.rejects(openTestStorage(t, path), /app\.db-index cannot be read: the database is locked by another process/);
    holder.close();
    assert.equal(await requireRight(t, path, 7), generation);
  });

  test('keeps its partitions small whatever times come', async (t) => {
    const path = join(temporaryFolder(t), 'app.db');
    makeLargeFile(path, "strftime('%Y-%m-%dT%H:%M:%SZ', iif(number <= 9000, 4070908800, 1736899200) + number, 'unixepoch')");
    const storage = await openTestStorage(t, path);
    assert.equal((await storage.list({ limit: 1, offset: 0, from: '+12', since: '2025-01-16T00:00:00' })).total, 150_000 - (86_400 - 9000) + 1);
    await storage.close();
    const index = new DatabaseSync(`${path}-index`, { readOnly: true });
    t.after(() => index.close());
    const largest = index.prepare('SELECT count(*) AS messages FROM by_sender GROUP BY partition ORDER BY messages DESC').get()?.['messages'];
    assert.ok(Number(largest) < 50_000, String(largest));
  });

  test('tells how far it is while it is made of a large database', async (t) => {
    const path = join(temporaryFolder(t), 'app.db');
    makeLargeFile(path, "'2025-01-15T10:00:00Z'");
    const notices: string[] = [];
    await openTestStorage(t, path, { notice: (_level, event, fields) => notices.push(`${event} ${JSON.stringify(fields)}`) });
    assert.ok(notices.some((notice) => /^indexing \{"rows_done":\d+,"rows":150000\}$/.test(notice)), notices.join('\n'));
  });

  test('that cannot be written is named at the start, with what to do', async (t) => {
    const { path } = await makeInbox(t, 1);
    rmSync(`${path}-index`);
    mkdirSync(`${path}-index`);
    await assert.rejects(openTestStorage(t, path), /app\.db-index .*remove/);
  });

  test('takes in a single message soon, though it waits for more', async (t) => {
    const storage = await openTestStorage(t, join(temporaryFolder(t), 'app.db'));
    await storage.append(message());
    assert.equal(storage.indexLag(), 1);
    await waitFor('the index', () => storage.indexLag() === 0);
  });
});
