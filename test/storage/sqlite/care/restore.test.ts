/** `restore.js`: a backup in the place of a database, which is kept; cut off anywhere, the one or the other works. */
import assert from 'node:assert/strict';
import { chownSync, copyFileSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, test, type TestContext } from 'node:test';
import { restore } from '../../../../src/storage/sqlite/care/restore.ts';
import { openForWriting } from '../../../../src/storage/sqlite/file/open.ts';
import { isIndexOfAnotherDatabase } from '../../../../src/storage/sqlite/indexing/identity.ts';
import { runCommand } from '../../../support/command.ts';
import { message } from '../../../support/messages.ts';
import { CHECKOUT, startServerProcess } from '../../../support/server-process.ts';
import { openTestStorage } from '../../../support/storage.ts';
import { temporaryFolder } from '../../../support/temporary.ts';
import { waitFor } from '../../../support/wait.ts';

const OLD = ['a', 'b', 'of after the backup'];
const NEW = ['a', 'b'];

interface Files {
  readonly folder: string;
  readonly path: string;
  readonly source: string;
  /** Handed out after the backup. */
  readonly position: { readonly generation: string; readonly sequence: string };
}

/** A database as a killed server leaves it, with its log, and a backup of before its last message. */
async function makeFiles(t: TestContext): Promise<Files> {
  const folder = join(temporaryFolder(t), 'data');
  const [live, path] = [join(temporaryFolder(t), 'app.db'), join(folder, 'app.db')];
  mkdirSync(folder);
  const source = join(temporaryFolder(t), 'backup.db');
  const storage = await openTestStorage(t, live);
  for (const message_id of NEW) await storage.append(message({ message_id }));
  assert.equal((await runCommand(t, 'backup', live, [source])).status, 0);
  await waitFor('the index', () => storage.indexLag() === 0);
  const position = { generation: storage.generation, sequence: '3' };
  await storage.close();
  const database = new DatabaseSync(live);
  database.exec(`
    PRAGMA wal_autocheckpoint = 0;
    INSERT INTO messages(message_id, from_number, to_number, ts, instant) VALUES ('of after the backup', '+12', '+13', '', '');
    UPDATE inbox SET messages = messages + 1`);
  for (const suffix of ['', '-wal', '-index']) copyFileSync(live + suffix, path + suffix);
  database.close();
  assert.ok(statSync(`${path}-wal`).size > 0);
  return { folder, path, source, position };
}

/** What the writer of a service finds in it. */
function idsOpenedFrom(path: string): string[] {
  const { database } = openForWriting(path, () => {}, (messages) => isIndexOfAnotherDatabase(messages, path));
  const ids = database.prepare('SELECT message_id FROM messages ORDER BY message_id').all().map((row) => String(row['message_id']));
  database.close();
  return ids;
}

async function idsServedFrom(t: TestContext, path: string): Promise<string[]> {
  const storage = await openTestStorage(t, path);
  const { items } = await storage.list({ limit: 100, offset: 0 });
  assert.equal((await storage.stats()).total, items.length);
  await storage.close();
  return items.map(({ message_id }) => message_id).toSorted();
}

const problemsOf = (last: Readonly<Record<string, unknown>>) => String(last['problems']);

describe('a restore', { concurrency: 2 }, () => {
  test('gives the messages of the backup, keeps those of before, and no position of after the backup holds', async (t) => {
    const { folder, path, source, position } = await makeFiles(t);
    const { status, last, stderr } = await runCommand(t, 'restore', path, [source]);
    assert.deepEqual([status, stderr], [0, '']);
    const { replaced, ...said } = last;
    assert.deepEqual([said['event'], said['file'], said['messages'], said['newest_sequence'], said['erased_since']], ['restored', path, 2, '2', 0]);
    assert.match(String(replaced), /app\.db-replaced-\d{8}T\d{6}Z$/);
    assert.deepEqual(readdirSync(folder).map((name) => join(folder, name)).toSorted(),
      [path, `${path}-lock`, String(replaced), `${String(replaced)}-wal`].toSorted());
    assert.equal(statSync(path).mode & 0o777, 0o600);

    const storage = await openTestStorage(t, path);
    assert.equal(await storage.holds(position), false);
    assert.equal(await storage.holds({ generation: position.generation }), false);
    assert.equal(await storage.append(message({ message_id: 'a' })), 'duplicate');
    assert.equal(await storage.append(message({ message_id: 'of after the backup' })), 'stored');
    assert.equal(await storage.holds(position), false);
    await storage.close();
    assert.equal((await runCommand(t, 'restore', path, [String(replaced)])).status, 0);
    assert.deepEqual(await idsServedFrom(t, path), [...OLD].toSorted());
  });

  test('where there is no database yet', async (t) => {
    const { source } = await makeFiles(t);
    const path = join(temporaryFolder(t), 'new.db');
    const { status, last } = await runCommand(t, 'restore', path, [source]);
    assert.deepEqual([status, last['replaced']], [0, null]);
    assert.deepEqual(await idsServedFrom(t, path), NEW);
  });

  const damages: Record<string, (path: string) => void> = {
    'is no database any more': (path) => writeFileSync(path, 'no database '.repeat(1000)),
    'is gone, and its log is not': (path) => rmSync(path),
    'is empty, and its log is not': (path) => writeFileSync(path, ''),
  };
  for (const [what, damage] of Object.entries(damages)) {
    test(`where the database ${what} keeps all that is there`, async (t) => {
      const { path, source } = await makeFiles(t);
      damage(path);
      const read = (file: string) => (existsSync(file) ? readFileSync(file) : null);
      const before = ['', '-wal'].map((suffix) => read(path + suffix));
      const { status, last } = await runCommand(t, 'restore', path, [source]);
      assert.equal(status, 0, problemsOf(last));
      assert.deepEqual(['', '-wal'].map((suffix) => read(String(last['replaced']) + suffix)), before);
      assert.equal(existsSync(`${path}-wal`), false);
      assert.deepEqual(await idsServedFrom(t, path), NEW);
    });
  }

  test('of a source that is served, and so has a log', async (t) => {
    const { folder, path } = await makeFiles(t);
    const server = startServerProcess(t, { env: { DATABASE_URL: path } });
    await server.url();
    const other = join(folder, 'other.db');
    assert.equal((await runCommand(t, 'restore', other, [path])).status, 0);
    assert.deepEqual(await idsServedFrom(t, other), OLD);
  });

  test('by root leaves it to the user that it belonged to', { skip: process.getuid?.() !== 0 && 'this is not root' }, async (t) => {
    const { folder, path, source } = await makeFiles(t);
    for (const name of readdirSync(folder)) chownSync(join(folder, name), 65532, 65532);
    assert.equal((await runCommand(t, 'restore', path, [source])).status, 0);
    for (const name of readdirSync(folder)) assert.equal(statSync(join(folder, name)).uid, 65532, name);
  });
});

test('a restore that is killed before any of its steps leaves the old database or the new one, and the next one succeeds', async (t) => {
  const made = await makeFiles(t);
  const served = new Set<string>();
  let status: number | null = null;
  let step = 0;
  for (; status !== 0; step += 1) {
    const folder = join(temporaryFolder(t), 'data');
    cpSync(made.folder, folder, { recursive: true });
    const path = join(folder, 'app.db');
    ({ status } = await runCommand(t, 'restore', path, [made.source], {
      NODE_OPTIONS: `--import ${join(CHECKOUT, 'test/support/kill-at-step.ts')}`, KILL_AT_STEP: String(step), KILL_SCRIPT: 'restore.ts',
    }));
    assert.ok(status === 0 || status === null, `step ${step} has status ${status}`);
    const again = join(temporaryFolder(t), 'data');
    cpSync(folder, again, { recursive: true });
    const ids = String(idsOpenedFrom(path));
    served.add(ids);
    assert.ok([String(OLD), String(NEW)].includes(ids), `step ${step}: ${ids}`);
    await restore(join(again, 'app.db'), { source: made.source, now: Date.now(), tell: () => {}, signal: new AbortController().signal });
    assert.deepEqual(idsOpenedFrom(join(again, 'app.db')), NEW);
    assert.deepEqual(readdirSync(again).filter((name) => /-restoring|-keeping/.test(name)), []);
  }
  assert.ok(step > 10, `it has only ${step} steps`);
  assert.deepEqual(served, new Set([String(OLD), String(NEW)]));
});

describe('a restore is refused, and leaves all as it was', { concurrency: 2 }, () => {
  const list = (folder: string) => readdirSync(folder).filter((name) => !name.endsWith('-lock') && !name.endsWith('-shm')).map((name) => [
    name, readFileSync(join(folder, name)).toString('base64'),
  ]);

  test('while a server has the database', async (t) => {
    const { path, source } = await makeFiles(t);
    const server = startServerProcess(t, { env: { DATABASE_URL: path } });
    await server.url();
    const { status, last } = await runCommand(t, 'restore', path, [source]);
    assert.deepEqual([status, last['event']], [1, 'restore_refused']);
    assert.match(problemsOf(last), /^DATABASE_URL: .* is already served by another process; stop that one first/);
    assert.deepEqual(readdirSync(join(path, '..')).filter((name) => /replaced|restoring|keeping/.test(name)), []);
  });

  test('while another program reads it', async (t) => {
    const { path, source } = await makeFiles(t);
    const reader = new DatabaseSync(path);
    reader.exec('BEGIN; SELECT 1 FROM messages');
    const { status, last } = await runCommand(t, 'restore', path, [source]);
    reader.close();
    assert.equal(status, 1);
    assert.match(problemsOf(last), /is in use by another process/);
    assert.deepEqual(await idsServedFrom(t, path), OLD);
  });

  test('for what SOURCE or DATABASE_URL is', async (t) => {
    const { folder, path, source } = await makeFiles(t);
    const others = temporaryFolder(t);
    writeFileSync(join(others, 'text.db'), 'no database '.repeat(1000));
    const database = new DatabaseSync(join(others, 'other.db'));
    database.exec('CREATE TABLE something(x)');
    database.close();
    const bytes = readFileSync(source);
    const name = bytes.lastIndexOf('message');
    writeFileSync(join(others, 'cut.db'), bytes.subarray(0, bytes.length - 4096));
    assert.ok(name > 0);
    const before = list(folder);
    const cases: [string, string[], RegExp][] = [
      [path, [join(others, 'absent.db')], /^SOURCE: .*absent\.db does not exist/],
      [path, [join(others, 'text.db')], /^SOURCE: .*text\.db is not a SQLite database/],
      [path, [join(others, 'other.db')], /^SOURCE: .*other\.db is a database of something else/],
      [path, [join(others, 'cut.db')], /^SOURCE: .*(?:damaged|not whole)/],
      [path, [others], /^SOURCE: .* is not a file/],
      [path, [path], /^SOURCE: .* is the database itself/],
      [path, [], /^the argument is SOURCE/], [path, [source, source], /^the argument is SOURCE/],
      [join(others, 'no/app.db'), [source], /^DATABASE_URL: the folder .* does not exist/],
      ['postgresql://me@127.0.0.1/inbox', [source], /^DATABASE_URL names a PostgreSQL, whose own tools do this/],
    ];
    for (const [url, args, problem] of cases) {
      const { status, last } = await runCommand(t, 'restore', url, args);
      assert.deepEqual([status, last['event']], [1, 'restore_refused'], args.join(' '));
      assert.match(problemsOf(last), problem);
      assert.deepEqual(list(folder), before);
    }
    writeFileSync(`${path}-restoring`, 'a part');
    assert.match(problemsOf((await runCommand(t, 'restore', path, [`${path}-restoring`])).last), /left by a restore that was cut off/);
  });
});
