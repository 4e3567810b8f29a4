/** What was erased after a backup was made, and whether a restore of that brings it back. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, test, type TestContext } from 'node:test';
import { verify } from '../../../../src/storage/sqlite/care/verify.ts';
import { createRemembered } from '../../../../src/storage/sqlite/file/remembered.ts';
import type { Storage } from '../../../../src/storage/storage.ts';
import { runCommand } from '../../../support/command.ts';
import { EARLIER_SCHEMAS } from '../../../support/earlier-schemas.ts';
import { hide } from '../../../support/hide.ts';
import { message } from '../../../support/messages.ts';
import { openTestStorage } from '../../../support/storage.ts';
import { temporaryFolder } from '../../../support/temporary.ts';
import { waitFor } from '../../../support/wait.ts';

/** Enough of them that some pages of a copy are freed and not written again. */
const KEPT = Array.from({ length: 300 }, (_, index) => `kept ${index}`);
const ERASED = Array.from({ length: 300 }, (_, index) => `secret ${index}`);

interface Files {
  readonly path: string;
  readonly backup: string;
}

async function makeFiles(t: TestContext): Promise<Files> {
  const [path, backup] = [join(temporaryFolder(t), 'app.db'), join(temporaryFolder(t), 'backup.db')];
  const storage = await openTestStorage(t, path);
  await Promise.all(KEPT.map((message_id) => storage.append(message({ message_id }))));
  await Promise.all(ERASED.map((message_id) => storage.append(message({ message_id, from: '+1999', text: 'a secret text' }))));
  await storage.append(message({ message_id: 'of a row that is still there' }));
  await storage.close();
  assert.equal((await runCommand(t, 'backup', path, [backup])).status, 0);
  return { path, backup };
}

const read = (path: string, sql: string): unknown[] => {
  const database = new DatabaseSync(path, { readOnly: true });
  try {
    return database.prepare(sql).all().map((row) => Object.values(row)[0]);
  } finally {
    database.close();
  }
};

/** Erases all of a sender, with its rows, and one message whose row stays. */
async function eraseSince(t: TestContext, path: string): Promise<void> {
  const storage = await openTestStorage(t, path);
  assert.equal(await storage.append(message({ message_id: 'of after the backup', from: '+1999' })), 'stored');
  assert.equal(await storage.erase({ from: '+1999' }, 'request 1'), ERASED.length + 1);
  await waitFor('the removal', () => read(path, 'SELECT count(*) FROM remembered')[0] === ERASED.length + 1);
  await storage.close();
  hide(path, { which: { message_id: 'of a row that is still there' }, expiredBefore: 0 });
}

async function outcomesOf(storage: Storage, ids: readonly string[]): Promise<string[]> {
  return [...new Set(await Promise.all(ids.map((message_id) => storage.append(message({ message_id })))))];
}

describe('a restore of a backup from before an erasure', { concurrency: 2 }, () => {
  test('does not bring back what was erased, nor a byte of it, and knows its ids', async (t) => {
    const { path, backup } = await makeFiles(t);
    await eraseSince(t, path);
    assert.ok(readFileSync(backup).includes('a secret text'));
    const { status, last } = await runCommand(t, 'restore', path, [backup]);
    assert.deepEqual([status, last['messages'], last['erased_since']], [0, KEPT.length, ERASED.length + 1]);
    const bytes = readFileSync(path);
    for (const secret of ['secret', '+1999', 'of a row that is still there']) assert.equal(bytes.includes(secret), false, secret);
    assert.deepEqual(read(path, 'SELECT message_id FROM messages ORDER BY id'), KEPT);
    assert.deepEqual(read(path, "SELECT request_id || ': ' || messages FROM erasures ORDER BY number"), ['request 1: 301', 'request: 1']);

    const storage = await openTestStorage(t, path);
    assert.equal((await storage.stats()).total, KEPT.length);
    const gone = [...ERASED, 'of after the backup', 'of a row that is still there'];
    assert.deepEqual(await outcomesOf(storage, gone), ['duplicate']);
    assert.deepEqual(await outcomesOf(storage, ['new']), ['stored']);
    await waitFor('the index', () => storage.indexLag() === 0);
    await storage.close();
    const said: string[] = [];
    await verify(path, { tell: () => {}, say: (problem) => said.push(problem) });
    assert.deepEqual(said, []);
  });

  test('nor does a restore of what that one has replaced', async (t) => {
    const { path, backup } = await makeFiles(t);
    const { last: { replaced } } = await runCommand(t, 'restore', path, [backup]);
    await eraseSince(t, path);
    const { status, last } = await runCommand(t, 'restore', path, [String(replaced)]);
    assert.deepEqual([status, last['messages'], last['erased_since']], [0, KEPT.length, ERASED.length + 1]);
  });

  test('leaves out nothing where nothing was erased since, though something was before', async (t) => {
    const { path } = await makeFiles(t);
    await eraseSince(t, path);
    const backup = join(temporaryFolder(t), 'later.db');
    assert.equal((await runCommand(t, 'backup', path, [backup])).status, 0);
    const { last } = await runCommand(t, 'restore', path, [backup]);
    assert.deepEqual([last['messages'], last['erased_since']], [KEPT.length, 0]);
  });

  test('leaves what has expired since to the retention of its next start', async (t) => {
    const { path, backup } = await makeFiles(t);
    const all = KEPT.length + ERASED.length + 1;
    const storage = await openTestStorage(t, path, {}, { retention: { keepMs: 1, rememberMs: 1e9 } });
    await waitFor('the removal', () => read(path, 'SELECT count(*) FROM remembered')[0] === all);
    await storage.close();
    const { last } = await runCommand(t, 'restore', path, [backup]);
    assert.deepEqual([last['messages'], last['erased_since']], [all, 0]);
  });

  test('keeps a message whose id was remembered once, and was stored again when it was no longer', async (t) => {
    const { path, backup } = await makeFiles(t);
    const database = new DatabaseSync(backup);
    createRemembered(database).add('kept 0', 1);
    database.close();
    const { last } = await runCommand(t, 'restore', path, [backup]);
    assert.deepEqual([last['messages'], last['erased_since']], [KEPT.length + ERASED.length + 1, 0]);
  });

  const untold: Readonly<Record<string, (path: string) => void>> = {
    'is damaged': (path) => writeFileSync(path, 'no database '.repeat(1000)),
    'has lost what it remembers': (path) => {
      const database = new DatabaseSync(path);
      database.exec('DROP TABLE remembered');
      database.close();
    },
    'is another one': (path) => {
      const database = new DatabaseSync(path);
      database.exec('UPDATE inbox SET id_key = randomblob(32)');
      database.close();
    },
  };
  for (const [what, change] of Object.entries(untold)) {
    test(`says that it cannot tell where what it replaces ${what}, and gives all of the backup`, async (t) => {
      const { path, backup } = await makeFiles(t);
      await eraseSince(t, path);
      change(path);
      const { status, last } = await runCommand(t, 'restore', path, [backup]);
      assert.deepEqual([status, last['messages'], last['erased_since']], [0, KEPT.length + ERASED.length + 1, null]);
      assert.deepEqual(readdirSync(dirname(path)).filter((name) => /-restoring|-keeping/.test(name)), []);
    });
  }

  test('says that it cannot tell where there was nothing, or the backup is of an earlier schema', async (t) => {
    const { path, backup } = await makeFiles(t);
    const other = join(temporaryFolder(t), 'app.db');
    assert.equal((await runCommand(t, 'restore', other, [backup])).last['erased_since'], null);
    const earlier = join(temporaryFolder(t), 'earlier.db');
    const database = new DatabaseSync(earlier);
    database.exec(EARLIER_SCHEMAS[3]);
    database.close();
    const { status, last } = await runCommand(t, 'restore', path, [earlier]);
    assert.deepEqual([status, last['messages'], last['erased_since']], [0, 1, null]);
  });
});
