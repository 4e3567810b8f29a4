import assert from 'node:assert/strict';
import { existsSync, linkSync, mkdirSync, readFileSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, test } from 'node:test';
import { StartRefused } from '../../../../src/errors.ts';
import { EARLIER_SCHEMAS } from '../../../support/earlier-schemas.ts';
import { REFERENCE_SCHEMA } from '../../../support/reference-schema.ts';
import { openTestStorage } from '../../../support/storage.ts';
import { message } from '../../../support/messages.ts';
import { temporaryFolder } from '../../../support/temporary.ts';
import { waitFor } from '../../../support/wait.ts';

const EVERYTHING = { limit: 100, offset: 0 };

function makeDatabase(path: string, ...statements: string[]): void {
  const database = new DatabaseSync(path);
  for (const statement of statements) database.exec(statement);
  database.close();
}

describe('a file made by the reference schema', () => {
  function makeReferenceFile(path: string, rows: [string, string, string, string, string | null][]): void {
    const database = new DatabaseSync(path);
    database.exec(REFERENCE_SCHEMA);
    const insert = database.prepare('INSERT INTO messages(message_id, from_number, to_number, ts, text) VALUES (?, ?, ?, ?, ?)');
    database.exec('BEGIN');
    for (const row of rows) insert.run(...row);
    database.exec('COMMIT');
    database.close();
  }

  test('is upgraded in place with nothing lost, rows that are refused today included', async (t) => {
    const path = join(temporaryFolder(t), 'app.db');
    makeReferenceFile(path, [
      ['b', '+12', '+13', '2025-01-15T10:00:00.50Z', 'text'],
      ['odd\nid', 'not a number', '', 'yesterday', 'a\0b'],
      ['a', '+12', '+13', '2025-01-15T10:00:00.5Z', null],
      ['impossible', '+12', '+13', '2025-02-30T10:00:00Z', ''],
    ]);
    const storage = await openTestStorage(t, path);
    const { items } = await storage.list(EVERYTHING);
    assert.deepEqual(items, [
      message({ message_id: 'a', from: '+12', to: '+13', ts: '2025-01-15T10:00:00.5Z', text: null }),
      message({ message_id: 'b', from: '+12', to: '+13', ts: '2025-01-15T10:00:00.50Z', text: 'text' }),
      message({ message_id: 'impossible', from: '+12', to: '+13', ts: '2025-02-30T10:00:00Z', text: '' }),
      message({ message_id: 'odd\nid', from: 'not a number', to: '', ts: 'yesterday', text: 'a\0b' }),
    ]);
    assert.equal((await storage.list({ ...EVERYTHING, from: 'not a number' })).total, 1);
    assert.equal((await storage.list({ ...EVERYTHING, q: 'B' })).total, 1);
    assert.equal(await storage.append(message({ message_id: 'a', from: '+12', to: '+13', ts: '2025-01-15T10:00:00.5Z', text: null })), 'duplicate');
    assert.equal(storage.lastStoredAt(), undefined);
  });

  test('can still be read by what reads the reference schema', async (t) => {
    const path = join(temporaryFolder(t), 'app.db');
    makeReferenceFile(path, [['a', '+12', '+13', '2025-01-15T10:00:00Z', 'text']]);
    const storage = await openTestStorage(t, path);
    await storage.append(message());
    const reader = new DatabaseSync(path, { readOnly: true });
    t.after(() => reader.close());
    const rows = reader.prepare('SELECT id, message_id, from_number, to_number, ts, text FROM messages ORDER BY id').all();
    assert.deepEqual(rows.map((row) => Object.values(row)), [
      [1, 'a', '+12', '+13', '2025-01-15T10:00:00Z', 'text'], [2, ...Object.values(message())],
    ]);
  });

  test('goes on where an upgrade was cut off, and says how far it is', async (t) => {
    const path = join(temporaryFolder(t), 'app.db');
    const rows = Array.from({ length: 60_000 }, (_, index): [string, string, string, string, null] =>
      [`m${index}`, '+12', '+13', '2025-01-15T10:00:00Z', null]);
    makeReferenceFile(path, rows);
    makeDatabase(path, 'ALTER TABLE messages ADD COLUMN instant TEXT', "UPDATE messages SET instant = '2025-01-15T10:00:00' WHERE id < 10");
    const notices: string[] = [];
    const storage = await openTestStorage(t, path, { notice: (_level, event, fields) => notices.push(`${event} ${JSON.stringify(fields)}`) });
    assert.equal((await storage.list({ ...EVERYTHING, since: '2025-01-15T10:00:00' })).total, 60_000);
    const inOrder = rows.map(([message_id]) => message_id).toSorted();
    const { items } = await storage.list({ limit: 2, offset: 45_000 });
    assert.deepEqual(items.map(({ message_id }) => message_id), inOrder.slice(45_000, 45_002));
    assert.ok(notices.some((notice) => notice.includes('"rows_done":50000,"rows":60000')), notices.join('\n'));
  });

  test('may have any row ids, however small, large or far apart', async (t) => {
    const path = join(temporaryFolder(t), 'app.db');
    makeDatabase(path, REFERENCE_SCHEMA, ...['-5', '0', '7', '1000000000000', '9223372036854775800'].map((id) =>
      `INSERT INTO messages VALUES (${id}, 'm${id}', '+12', '+13', '2025-01-15T10:00:00Z', 'x')`));
    const storage = await openTestStorage(t, path);
    const { items, total } = await storage.list({ ...EVERYTHING, since: '2025-01-15T10:00:00' });
    assert.deepEqual([items.length, total], [5, 5]);
    for (const filter of [{}, { from: '+12' }, { q: 'x' }]) assert.equal((await storage.list({ limit: 9, offset: 4, ...filter })).items.length, 1);
    assert.equal(await storage.append(message({ message_id: 'after the largest' })), 'stored');
  });

  test('takes in what the reference program has written to an upgraded file', async (t) => {
    const path = join(temporaryFolder(t), 'app.db');
    makeReferenceFile(path, [['a', '+12', '+13', '2025-01-15T10:00:00Z', null]]);
    await (await openTestStorage(t, path)).close();
    makeDatabase(path, "INSERT INTO messages(message_id, from_number, to_number, ts) VALUES ('b', '+14', '+13', '2025-01-15T09:00:00Z')");
    const storage = await openTestStorage(t, path);
    assert.deepEqual((await storage.list(EVERYTHING)).items.map(({ message_id }) => message_id), ['b', 'a']);
    assert.equal((await storage.stats()).senders, 2);
  });

  test('starts though a program reads it in a transaction of its own', async (t) => {
    const path = join(temporaryFolder(t), 'app.db');
    const storage = await openTestStorage(t, path);
    await storage.append(message());
    const reader = new DatabaseSync(path, { readOnly: true });
    t.after(() => reader.close());
    reader.exec('BEGIN');
    reader.prepare('SELECT count(*) FROM messages').get();
    await storage.close();
    const again = await openTestStorage(t, path);
    assert.equal(await again.append(message()), 'duplicate');
  });

  test('is not upgraded again at the next start', async (t) => {
    const path = join(temporaryFolder(t), 'app.db');
    makeReferenceFile(path, [['a', '+12', '+13', '2025-01-15T10:00:00Z', null]]);
    const upgraded = await openTestStorage(t, path);
    await waitFor('the index', () => upgraded.indexLag() === 0);
    await upgraded.close();
    const notices: string[] = [];
    await openTestStorage(t, path, { notice: (_level, event) => notices.push(event) });
    assert.deepEqual(notices, []);
  });
});

test('a file of version 1 is upgraded in place: nothing is lost, and what is kept elsewhere now is dropped', async (t) => {
  const path = join(temporaryFolder(t), 'app.db');
  makeDatabase(path, EARLIER_SCHEMAS[1]);
  const storage = await openTestStorage(t, path);
  assert.equal(storage.lastStoredAt(), 1736935200000);
  assert.deepEqual((await storage.list({ ...EVERYTHING, from: '+12' })).items,
    [message({ message_id: 'a', from: '+12', to: '+13', text: 'text' })]);
  assert.deepEqual((await storage.stats()).topSenders, [{ from: '+12', count: 1 }]);
  await storage.close();
  const database = new DatabaseSync(path, { readOnly: true });
  t.after(() => database.close());
  const names = database.prepare("SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY name").all().map((row) => row['name']);
  assert.deepEqual(names, [
    'count_deletions', 'count_updates', 'erasures', 'generations', 'hidden', 'inbox', 'messages', 'messages_by_instant', 'notice_insertions', 'remembered',
  ]);
});

describe('a file that cannot be used is refused with what to mend, and left as it was', () => {
  const makers: Record<string, [(path: string) => void, RegExp]> = {
    'no database': [(path) => writeFileSync(path, 'x'.repeat(5000)), /is not a SQLite database/],
    'made by a newer version': [(path) => makeDatabase(path, REFERENCE_SCHEMA, 'PRAGMA user_version = 99'), /newer version/],
    'of another application': [(path) => makeDatabase(path, REFERENCE_SCHEMA, 'PRAGMA application_id = 1'), /another application/],
    'in UTF-16': [(path) => makeDatabase(path, "PRAGMA encoding = 'UTF-16le'", REFERENCE_SCHEMA), /UTF-8/],
    'without messages': [(path) => makeDatabase(path, 'CREATE TABLE bookmarks(url TEXT)'), /no table messages/],
    'lacking a column': [(path) => makeDatabase(path, 'CREATE TABLE messages(id INTEGER PRIMARY KEY, message_id TEXT UNIQUE)'), /without from_number, to_number, ts, text/],
    'whose ids are not unique': [(path) => makeDatabase(path, REFERENCE_SCHEMA.replace('UNIQUE ', '')), /not unique/],
    'with tables that would be in the way': [(path) => makeDatabase(path, REFERENCE_SCHEMA, 'CREATE VIEW inbox AS SELECT 1'), /inbox/],
    'with a version of someone else': [(path) => makeDatabase(path, REFERENCE_SCHEMA, 'PRAGMA user_version = 1'), /another application/],
    'with another unique index': [(path) => makeDatabase(path, REFERENCE_SCHEMA, 'CREATE UNIQUE INDEX one ON messages(from_number)'), /unique index on from_number/],
    'that demands more': [(path) => makeDatabase(path, REFERENCE_SCHEMA.replace('text TEXT NULL', 'text TEXT NULL, tenant TEXT NOT NULL')), /wants a value for tenant/],
  };
  for (const [kind, [make, problem]] of Object.entries(makers)) {
    test(kind, async (t) => {
      const path = join(temporaryFolder(t), 'app.db');
      make(path);
      const before = readFileSync(path);
      await assert.rejects(openTestStorage(t, path), (error: unknown) => error instanceof StartRefused && problem.test(error.message));
      assert.deepEqual(readFileSync(path), before);
    });
  }

  test('a folder, or a path in no folder', async (t) => {
    const folder = temporaryFolder(t);
    mkdirSync(join(folder, 'app.db'));
    await assert.rejects(openTestStorage(t, join(folder, 'app.db')), /is not a file/);
    await assert.rejects(openTestStorage(t, join(folder, 'missing/app.db')), /does not exist/);
    writeFileSync(join(folder, 'file'), '');
    await assert.rejects(openTestStorage(t, join(folder, 'file/app.db')), /is not a folder/);
    assert.deepEqual([existsSync(join(folder, 'missing')), statSync(join(folder, 'file')).size], [false, 0]);
  });

  test('one with a second name, which would get a second log', async (t) => {
    const path = join(temporaryFolder(t), 'app.db');
    makeDatabase(path, REFERENCE_SCHEMA);
    linkSync(path, `${path}.other`);
    await assert.rejects(openTestStorage(t, path), /hard link/);
  });

  test('one that was cut off in the middle of a page, which SQLite takes for zeros', async (t) => {
    const path = join(temporaryFolder(t), 'app.db');
    await (await openTestStorage(t, path)).close();
    truncateSync(path, statSync(path).size - 1);
    const bytes = readFileSync(path);
    await assert.rejects(openTestStorage(t, path), /ends in the middle of a page, as it was cut off; restore a backup/);
    assert.deepEqual(readFileSync(path), bytes);
  });

  test('one that is served already, by whatever path', async (t) => {
    const path = join(temporaryFolder(t), 'app.db');
    await openTestStorage(t, path);
    symlinkSync(path, `${path}.link`);
    await assert.rejects(openTestStorage(t, path), /already served/);
    await assert.rejects(openTestStorage(t, `${path}.link`), /already served/);
  });

  test('a link that leads nowhere', async (t) => {
    const path = join(temporaryFolder(t), 'app.db');
    symlinkSync(`${path}.missing`, path);
    await assert.rejects(openTestStorage(t, path), /a link to a file that does not exist/);
  });

  test('one that another process holds', async (t) => {
    const path = join(temporaryFolder(t), 'app.db');
    makeDatabase(path, REFERENCE_SCHEMA);
    const other = new DatabaseSync(path);
    t.after(() => other.close());
    other.exec('BEGIN EXCLUSIVE');
    await assert.rejects(openTestStorage(t, path), /locked by another process/);
  });
});

test('an empty file is taken as a new database', async (t) => {
  const path = join(temporaryFolder(t), 'app.db');
  writeFileSync(path, '');
  const storage = await openTestStorage(t, path);
  assert.equal(await storage.append(message()), 'stored');
});
