/** The read index lives beside the messages and can be made from them anew: whatever becomes of its file, reads are right. */
import assert from 'node:assert/strict';
import {
  closeSync, copyFileSync, existsSync, mkdirSync, openSync, readFileSync, readdirSync, readlinkSync, renameSync, rmSync, rmdirSync,
  statSync, truncateSync, writeFileSync, writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, test } from 'node:test';
import type { Storage } from '../../../../src/storage/storage.ts';
import { message } from '../../../support/messages.ts';
import { REFERENCE_SCHEMA } from '../../../support/reference-schema.ts';
import { openTestStorage, openTestStorageAtOnce } from '../../../support/storage.ts';
import { temporaryFolder, type Scope } from '../../../support/temporary.ts';
import { waitFor } from '../../../support/wait.ts';

const EVERYTHING = { limit: 100, offset: 0 };

/** A closed database of so many messages, all in its index, and what was handed out when all were stored. */
async function makeInbox(scope: Scope, messages: number) {
  const path = join(temporaryFolder(scope), 'app.db');
  const storage = await openTestStorage(scope, path);
  for (let index = 0; index < messages; index += 1) await storage.append(message({ message_id: `m${index}`, from: `+1${index % 3}` }));
  const handedOut = { generation: storage.generation, sequence: await storage.newestSequence() };
  await waitFor('the index', () => storage.indexLag() === 0);
  await storage.close();
  return { path, handedOut };
}

type HandedOut = Awaited<ReturnType<typeof makeInbox>>['handedOut'];

/** Reads it in ways that need the index. */
async function requireRight(storage: Storage, messages: number): Promise<void> {
  await waitFor('what reads need', () => storage.degraded().length === 0);
  assert.equal((await storage.stats()).total, messages);
  assert.equal((await storage.list({ ...EVERYTHING, from: '+10' })).total, Math.ceil(messages / 3));
  assert.equal((await storage.list({ ...EVERYTHING, since: '2025-01-15T10:00:00', q: 'hell' })).items.length, messages);
}

/** Opens it, reads it in ways that need the index, and tells whether what was handed out before still means the same. */
async function openRight(scope: Scope, path: string, messages: number, { generation, sequence }: HandedOut): Promise<boolean> {
  const storage = await openTestStorage(scope, path);
  await requireRight(storage, messages);
  const holds = await storage.holds({ generation, sequence });
  assert.equal(await storage.holds({ generation }), holds);
  await storage.close();
  return holds;
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

/** Opens it, with what an operator is told of its index. */
async function openTold(scope: Scope, path: string) {
  const told: string[] = [];
  const storage = await openTestStorageAtOnce(scope, path, {
    notice: (_level, event) => void told.push(event),
    failing: (step, reason) => void (step === 'index' && told.push(reason === null ? 'well' : 'failing')),
  });
  return { storage, told };
}

const made = (told: readonly string[]) => told.includes('index_complete');

describe('the read index', { concurrency: 4 }, () => {
  test('is kept over a restart, and the generation with it', async (t) => {
    const { path, handedOut } = await makeInbox(t, 7);
    const madeAt = statSync(`${path}-index`).ino;
    assert.equal(await openRight(t, path, 7, handedOut), true);
    assert.equal(statSync(`${path}-index`).ino, madeAt);
  });

  test('is brought up to date with what was stored and not yet in it when the process ended', async (t) => {
    const { path, handedOut } = await makeInbox(t, 7);
    copyFileSync(`${path}-index`, `${path}-early`);
    const storage = await openTestStorage(t, path);
    await storage.append(message({ message_id: 'm7', from: '+11' }));
    await storage.close();
    copyFileSync(`${path}-early`, `${path}-index`);
    assert.equal(await openRight(t, path, 8, handedOut), true);
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
      const { path, handedOut } = await makeInbox(t, 7);
      lose(path);
      assert.equal(await openRight(t, path, 7, handedOut), false);
    });
  }

  test('is made anew where it is of another database, or ahead of an older one that was restored', async (t) => {
    const { path, handedOut } = await makeInbox(t, 4);
    copyFileSync(path, `${path}-backup`);
    const longer = await openTestStorage(t, path);
    for (const message_id of ['m4', 'm5']) await longer.append(message({ message_id, from: '+15' }));
    await waitFor('the index', () => longer.indexLag() === 0);
    await longer.close();
    copyFileSync(`${path}-backup`, path);
    assert.equal(await openRight(t, path, 4, handedOut), false);

    const other = await makeInbox(t, 4);
    copyFileSync(`${other.path}-index`, `${path}-index`);
    assert.equal(await openRight(t, path, 4, handedOut), false);
    assert.equal(await openRight(t, path, 4, other.handedOut), false);
  });

  test('is made anew after another version has made it, and positions stay valid', async (t) => {
    const { path, handedOut } = await makeInbox(t, 7);
    const index = new DatabaseSync(`${path}-index`);
    index.exec('DELETE FROM senders; PRAGMA user_version = 99');
    index.close();
    assert.equal(await openRight(t, path, 7, handedOut), true);
  });

  const edits = {
    deleted: ["DELETE FROM messages WHERE message_id IN ('m0', 'm3')", 5, 1, 5, true],
    changed: ["UPDATE messages SET from_number = '+19', text = 'other', ts = '2024-01-01T00:00:00Z' WHERE message_id IN ('m0', 'm3')", 7, 1, 5, true],
  } as const;
  for (const [what, [sql, total, ofSender, found, positionsHold]] of Object.entries(edits)) {
    test(`is made anew where another program has ${what} messages`, async (t) => {
      const { path, handedOut } = await makeInbox(t, 7);
      const editor = new DatabaseSync(path);
      editor.exec(sql);
      editor.close();
      const storage = await openTestStorage(t, path);
      const { total: listed, items } = await storage.list(EVERYTHING);
      assert.deepEqual([listed, items.length, (await storage.stats()).total], [total, total, total]);
      assert.equal((await storage.list({ ...EVERYTHING, from: '+10' })).total, ofSender);
      assert.equal((await storage.list({ ...EVERYTHING, since: '2025-01-15T10:00:00', q: 'hell' })).total, found);
      assert.equal(await storage.holds(handedOut), positionsHold);
    });
  }

  test('is made anew at the start where the indexer meets damage', async (t) => {
    const { path } = await makeInbox(t, 7);
    const index = new DatabaseSync(`${path}-index`);
    const root = Number(index.prepare("SELECT rootpage FROM sqlite_schema WHERE name = 'by_sender'").get()?.['rootpage']);
    // As if it had not been there yet, so that it is written.
    index.exec('UPDATE progress SET indexed_through = indexed_through - 1');
    index.close();
    const file = openSync(`${path}-index`, 'r+');
    writeSync(file, Buffer.alloc(4096, 0xff), 0, 4096, (root - 1) * 4096);
    closeSync(file);
    const { storage, told } = await openTold(t, path);
    await waitFor('the end of it', () => made(told));
    assert.deepEqual(told, ['well', 'failing', 'well', 'index_made_anew', 'well', 'index_complete']);
    await requireRight(storage, 7);
  });

  const obstacles: Record<string, (path: string) => () => void> = {
    'that another program holds': (path) => {
      const holder = new DatabaseSync(`${path}-index`);
      holder.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE');
      return () => holder.close();
    },
    'in whose place is a folder': (path) => {
      rmSync(`${path}-index`);
      mkdirSync(`${path}-index`);
      return () => rmdirSync(`${path}-index`);
    },
  };
  for (const [what, obstruct] of Object.entries(obstacles)) {
    test(`${what} keeps nothing else from work, says why, and is tried again`, async (t) => {
      const { path } = await makeInbox(t, 6);
      const remove = obstruct(path);
      const { storage, told } = await openTold(t, path);
      assert.equal(await storage.append(message({ message_id: 'm6' })), 'stored');
      assert.equal((await storage.list(EVERYTHING)).total, 7);
      await waitFor('the word of it', () => told.at(-1) === 'failing');
      const [, reason] = /^(.*): 0 % of the messages are in it$/.exec(storage.degraded().join()) ?? [];
      assert.match(String(reason), /locked by another process|cannot be opened/);
      await assert.rejects(storage.stats(), { reason });
      remove();
      await waitFor('what reads need', () => storage.degraded().length === 0);
      assert.equal((await storage.stats()).total, 7);
      assert.equal(told.at(-1) === 'failing', false);
    });
  }

  test('is not waited for: what does not need it is answered while it is made, the rest is refused with the reason', async (t) => {
    const path = join(temporaryFolder(t), 'app.db');
    makeLargeFile(path, "'2025-01-15T10:00:00Z'");
    const storage = await openTestStorageAtOnce(t, path);
    assert.match(storage.degraded().join(), /^the read index is being made: \d+ % of the messages are in it$/);
    const refused = [storage.stats(), storage.arrivals(0), ...[{ from: '+12' }, { since: '2025' }, { q: 'a' }].map((filter) => storage.list({ ...EVERYTHING, ...filter }))];
    for (const read of refused) await assert.rejects(read, { reason: 'the read index is being made' });
    assert.equal(await storage.append(message({ message_id: 'z', ts: '2025-01-16T10:00:00Z' })), 'stored');
    const newest = await storage.list({ limit: 1, offset: 0, newestFirst: true });
    assert.deepEqual([newest.total, newest.items[0]?.message_id], [150_001, 'z']);
    assert.equal((await storage.list({ limit: 1, offset: 150_000 })).items[0]?.message_id, 'z');
    assert.equal((await storage.stored({ after: storage.beforeAll, limit: 7 })).items.length, 7);
    await waitFor('what reads need', () => storage.degraded().length === 0);
    assert.equal((await storage.stats()).total, 150_001);
  });

  /** Whether this process has a file open that is removed (proc(5)). Elsewhere than on Linux that is not known. */
  const holdsRemoved = (file: string) => existsSync('/proc/self/fd') && readdirSync('/proc/self/fd').some((descriptor) => {
    try {
      return readlinkSync(`/proc/self/fd/${descriptor}`) === `${file} (deleted)`;
    } catch {
      return false;
    }
  });
  const misfortunes: Record<string, (indexPath: string) => void> = {
    'is removed': (indexPath) => rmSync(indexPath),
    'is moved away': (indexPath) => renameSync(indexPath, `${indexPath}-elsewhere`),
    'is replaced': (indexPath) => {
      copyFileSync(indexPath, `${indexPath}-copy`);
      renameSync(`${indexPath}-copy`, indexPath);
    },
    'is cut short': (indexPath) => truncateSync(indexPath, 4096),
    'is emptied': (indexPath) => truncateSync(indexPath),
    'is damaged': (indexPath) => {
      const file = openSync(indexPath, 'r+');
      writeSync(file, Buffer.alloc(statSync(indexPath).size - 4096, 0xff), 0, undefined, 4096);
      closeSync(file);
    },
  };
  for (const [what, strike] of Object.entries(misfortunes)) {
    test(`that ${what} while it is in use is made anew, without a restart`, async (t) => {
      const { path, handedOut } = await makeInbox(t, 7);
      const { storage, told } = await openTold(t, path);
      strike(`${path}-index`);
      await waitFor('right answers of another index', async () => {
        await storage.list({ ...EVERYTHING, from: '+10' }).catch(() => {});
        await storage.append(message({ message_id: 'm0', from: '+10' }));
        return made(told);
      });
      assert.equal(told.filter((one) => one === 'failing').length, 1);
      await requireRight(storage, 7);
      assert.ok(await storage.holds(handedOut));
      await waitFor('the room of the one before', () => !holdsRemoved(`${path}-index`));
    });
  }

  test('is kept where a read has met damage that is in the messages', async (t) => {
    const path = join(temporaryFolder(t), 'app.db');
    const writing = await openTestStorage(t, path);
    for (let index = 0; index < 60; index += 1) {
      await writing.append(message({ message_id: `m${index}`, from: `+1${index % 3}`, text: `number ${index} ${'x'.repeat(1000)}` }));
    }
    await waitFor('the index', () => writing.indexLag() === 0);
    await writing.close();
    const bytes = readFileSync(path);
    const page = Math.floor(bytes.indexOf('number 50 ') / 4096);
    const file = openSync(path, 'r+');
    writeSync(file, Buffer.alloc(4096, 0xff), 0, 4096, page * 4096);
    closeSync(file);

    const { storage, told } = await openTold(t, path);
    const failures: string[] = [];
    for (let asked = 0; asked < 3; asked += 1) {
      await assert.rejects(storage.list({ ...EVERYTHING, q: 'number 50' }), { reason: 'the database or its read index is damaged' });
      failures.push(...storage.degraded());
      assert.equal((await storage.stats()).total, 60);
    }
    await storage.append(message({ message_id: 'm60' }));
    await waitFor('the index', () => storage.indexLag() === 0);
    assert.deepEqual([failures, told.filter((one) => one === 'failing' || one === 'index_made_anew')], [[], []]);
  });

  test('keeps its partitions small whatever times come', async (t) => {
    const path = join(temporaryFolder(t), 'app.db');
    makeLargeFile(path, "strftime('%Y-%m-%dT%H:%M:%SZ', iif(number <= 9000, 4070908800, 1736899200) + number, 'unixepoch')");
    const storage = await openTestStorage(t, path);
    await waitFor('the index', () => storage.indexLag() === 0);
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
    await waitFor('its progress', () => notices.some((notice) => /^indexing \{"rows_done":\d+,"rows":150000\}$/.test(notice)));
  });

  test('takes in a single message soon, though it waits for more', async (t) => {
    const storage = await openTestStorage(t, join(temporaryFolder(t), 'app.db'));
    await storage.append(message());
    assert.equal(storage.indexLag(), 1);
    await waitFor('the index', () => storage.indexLag() === 0);
  });
});
