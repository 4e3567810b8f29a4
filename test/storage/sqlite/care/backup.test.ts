/** `backup.js`: a copy of one moment beside whoever writes, that has its name only once it is whole. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, test, type TestContext } from 'node:test';
import { runCommand, startCommand } from '../../../support/command.ts';
import { hide } from '../../../support/hide.ts';
import { startClosedLoop } from '../../../support/load.ts';
import { message } from '../../../support/messages.ts';
import { REFERENCE_SCHEMA } from '../../../support/reference-schema.ts';
import { startServerProcess } from '../../../support/server-process.ts';
import { openTestStorage } from '../../../support/storage.ts';
import { temporaryFolder } from '../../../support/temporary.ts';
import { waitFor } from '../../../support/wait.ts';

const MEBIBYTE = 1024 * 1024;

async function makeDatabase(t: TestContext, ids: readonly string[] = ['a', 'b']): Promise<string> {
  const path = join(temporaryFolder(t), 'app.db');
  const storage = await openTestStorage(t, path);
  for (const message_id of ids) await storage.append(message({ message_id }));
  await storage.close();
  return path;
}

/** Makes a database so large that a copy of it takes a while. */
function enlarge(path: string, mebibytes: number): void {
  const database = new DatabaseSync(path);
  database.exec('PRAGMA synchronous = OFF; CREATE TABLE filler(content)');
  const insert = database.prepare('INSERT INTO filler VALUES (randomblob(?))');
  for (let filled = 0; filled < mebibytes; filled += 4) insert.run(4 * MEBIBYTE);
  database.close();
}

function fill(path: string, messages: number): void {
  const database = new DatabaseSync(path);
  database.prepare(`
    INSERT INTO messages(message_id, from_number, to_number, ts, instant)
    SELECT 'm' || value, '+12', '+13', '2025-01-15T10:00:00Z', '2025-01-15T10:00:00' FROM (WITH RECURSIVE numbers(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM numbers WHERE value < ?) SELECT value FROM numbers)`).run(messages);
  database.close();
}

function idsIn(path: string): string[] {
  const database = new DatabaseSync(path, { readOnly: true });
  try {
    return database.prepare('SELECT message_id FROM messages ORDER BY id').all().map((row) => String(row['message_id']));
  } finally {
    database.close();
  }
}

const problemsOf = (last: Readonly<Record<string, unknown>>) => String(last['problems']);

describe('a backup', { concurrency: 2 }, () => {
  test('is a whole copy with its hash, for its owner only, and needs no service', async (t) => {
    const path = await makeDatabase(t);
    const target = join(temporaryFolder(t), 'copy.db');
    const { status, last, stderr } = await runCommand(t, 'backup', path, [target]);
    assert.deepEqual([status, stderr], [0, '']);
    const { ts, ...said } = last;
    assert.ok(ts);
    assert.deepEqual(said, {
      level: 'INFO', event: 'backed_up', file: target, bytes: statSync(target).size, messages: 2, newest_sequence: '2', removed: 0,
      sha256: createHash('sha256').update(readFileSync(target)).digest('hex'),
    });
    assert.equal(statSync(target).mode & 0o777, 0o600);
    assert.deepEqual(readdirSync(join(target, '..')), ['copy.db']);
    assert.deepEqual(idsIn(target), ['a', 'b']);
  });

  test('does not have what is erased, though its row may still be there, and knows its id', async (t) => {
    const ids = Array.from({ length: 300 }, (_, index) => `id ${index}`);
    const path = await makeDatabase(t, [...ids, 'a-secret-id']);
    hide(path, { which: { message_id: 'a-secret-id' }, expiredBefore: 0 });
    const target = join(temporaryFolder(t), 'copy.db');
    const { status, last } = await runCommand(t, 'backup', path, [target]);
    assert.deepEqual([status, last['messages']], [0, ids.length]);
    assert.equal(readFileSync(target).includes('a-secret-id'), false);
    assert.deepEqual(idsIn(target), ids);
    const restored = await openTestStorage(t, target);
    assert.equal(await restored.append(message({ message_id: 'a-secret-id' })), 'duplicate');
    assert.equal(readFileSync(path).includes('a-secret-id') || readFileSync(`${path}-wal`).includes('a-secret-id'), true);
  });

  test('does not have what was deleted', async (t) => {
    const path = await makeDatabase(t, ['a-secret-id', 'b']);
    const database = new DatabaseSync(path);
    database.exec("DELETE FROM messages WHERE message_id = 'a-secret-id'");
    database.close();
    const target = join(temporaryFolder(t), 'copy.db');
    assert.equal((await runCommand(t, 'backup', path, [target])).status, 0);
    assert.equal(readFileSync(target).includes('a-secret-id'), false);
  });

  test('of a file of the reference program', async (t) => {
    const folder = temporaryFolder(t);
    const database = new DatabaseSync(join(folder, 'app.db'));
    database.exec(`${REFERENCE_SCHEMA}; INSERT INTO messages(message_id, from_number, to_number, ts) VALUES ('old', '+12', '+13', '')`);
    database.close();
    const { status, last } = await runCommand(t, 'backup', `sqlite:///${folder}/app.db`, [join(folder, 'copy.db')]);
    assert.deepEqual([status, last['messages'], last['newest_sequence']], [0, 1, '1']);
  });

  test('into a folder has the time in its name, and those that are too old go, with what is left of others, and nothing else', async (t) => {
    const path = await makeDatabase(t);
    const folder = join(temporaryFolder(t), 'backups');
    mkdirSync(folder);
    const old = ['app-2020-01-01T00-00-00Z.db', 'app-2020-01-01T00-00-00Z.db.partial', 'app-2020-01-01T00-00-00Z.db.partial-journal'];
    const others = ['app-2020-01-01.db', 'other-2020-01-01T00-00-00Z.db', `app-${new Date().toISOString().slice(0, 10)}T00-00-00Z.db`];
    for (const name of [...old, ...others]) writeFileSync(join(folder, name), '');
    others.push('app-2019-01-01T00-00-00Z.db');
    mkdirSync(join(folder, 'app-2019-01-01T00-00-00Z.db'));
    const { status, last } = await runCommand(t, 'backup', path, [`${folder}/`, '--keep-days', '7']);
    assert.equal(status, 0);
    const name = String(last['file']).slice(folder.length + 1);
    assert.match(name, /^app-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ\.db$/);
    assert.equal(last['removed'], 3);
    assert.deepEqual(readdirSync(folder).toSorted(), [...others, name].toSorted());
    rmSync(folder, { recursive: true });
    assert.equal((await runCommand(t, 'backup', path, [`${folder}/`])).status, 0);
    assert.equal(readdirSync(folder).length, 1);
  });

  test('beside a busy server has all that was acknowledged before, no stalls, and the log is short afterwards', async (t) => {
    const path = await makeDatabase(t);
    enlarge(path, 128);
    const server = startServerProcess(t, { env: { DATABASE_URL: path } });
    const { port } = new URL(await server.url());
    let count = 0;
    const load = startClosedLoop(t, Number(port), 8, () => `m${count += 1}`);
    await waitFor('messages', () => load.sent.length > 200);
    const before = load.sent.filter(({ status }) => status === 200).map(({ message_id }) => message_id);
    const target = join(temporaryFolder(t), 'copy.db');
    const { status, last } = await runCommand(t, 'backup', path, [target]);
    await load.stop();
    assert.equal(status, 0);
    const stored = new Set(idsIn(target));
    assert.deepEqual(before.filter((id) => !stored.has(id)), []);
    assert.equal(stored.size, last['messages']);
    // In the order of storing up to one moment: nothing of after it, and nothing left out.
    assert.equal(String(last['newest_sequence']), String(stored.size));
    assert.ok(load.sent.every((sent) => sent.status === 200));
    await waitFor('a short log', () => statSync(`${path}-wal`).size < MEBIBYTE);
    server.child.kill('SIGTERM');
    assert.equal((await server.ended).code, 0);
  });
});

describe('backups that are begun at the same moment', () => {
  const hashOf = (file: string) => createHash('sha256').update(readFileSync(file)).digest('hex');

  test('into one folder are each whole, under names of their own', async (t) => {
    const path = await makeDatabase(t);
    enlarge(path, 8);
    const folder = temporaryFolder(t);
    const ended = await Promise.all(Array.from({ length: 4 }, () => runCommand(t, 'backup', path, [folder])));
    const made = ended.filter(({ status }) => status === 0).map(({ last }) => last);
    assert.ok(made.length > 0);
    for (const { status, last } of ended) {
      assert.ok(status === 0 || /exists: another copy is being made/.test(problemsOf(last)) || /exists; name another/.test(problemsOf(last)), JSON.stringify(last));
    }
    for (const { file, sha256 } of made) assert.equal(hashOf(String(file)), sha256);
    assert.deepEqual(readdirSync(folder).toSorted(), made.map(({ file }) => basename(String(file))).toSorted());
  });

  test('to one name are one backup, and the others say that it is being made', async (t) => {
    const path = await makeDatabase(t);
    enlarge(path, 8);
    const target = join(temporaryFolder(t), 'copy.db');
    const ended = await Promise.all(Array.from({ length: 4 }, () => runCommand(t, 'backup', path, [target])));
    const [made, ...others] = ended.toSorted((a, b) => Number(a.status) - Number(b.status));
    assert.deepEqual([made?.status, made?.last['sha256']], [0, hashOf(target)]);
    for (const { status, last } of others) {
      assert.equal(status, 1);
      assert.match(problemsOf(last), /^TARGET: .* exists/);
    }
    assert.deepEqual(readdirSync(dirname(target)), ['copy.db']);
  });
});

describe('a backup that is ended', () => {
  for (const name of ['SIGTERM', 'SIGINT'] as const) {
    test(`by ${name} leaves nothing behind`, async (t) => {
      const path = await makeDatabase(t);
      enlarge(path, 256);
      const folder = temporaryFolder(t);
      const { child, lines, ended } = startCommand(t, 'backup', path, [join(folder, 'copy.db')]);
      await waitFor('a part of it', () => readdirSync(folder).includes('copy.db.partial'));
      child.kill(name);
      const { status, last } = await ended;
      assert.equal(status, 1);
      assert.ok(lines.some(({ event, step }) => event === 'backing_up' && step === 'copying'));
      assert.deepEqual(last['problems'], [`ended by ${name}`]);
      assert.deepEqual(readdirSync(folder), []);
    });
  }

  test('by a full disk says so, and leaves nothing behind', async (t) => {
    const path = await makeDatabase(t);
    enlarge(path, 48);
    let folder = '';
    // Before the folder goes.
    t.after(() => void spawnSync('umount', ['--lazy', folder]));
    folder = temporaryFolder(t);
    if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64m', 'tmpfs', folder]).status !== 0) return t.skip('no file system can be mounted');
    const { status, last } = await runCommand(t, 'backup', path, [join(folder, 'copy.db')]);
    assert.equal(status, 1);
    assert.match(problemsOf(last), /^TARGET: \d+ MB are needed in .*, and 34 MB besides, but 67 MB are free; free some space/);
    assert.deepEqual(readdirSync(folder), []);
  });
});

describe('a backup is refused', { concurrency: 2 }, () => {
  test('for what TARGET is', async (t) => {
    const path = await makeDatabase(t);
    const folder = temporaryFolder(t);
    const taken = join(folder, 'taken.db');
    for (const file of [taken, join(folder, 'cut-off.db.partial')]) writeFileSync(file, 'mine');
    symlinkSync('loop', join(folder, 'loop'));
    const cases: [string[], RegExp][] = [
      [[taken], /^TARGET: .*taken\.db exists; name another one$/],
      [[join(folder, 'cut-off.db')], /^TARGET: .*cut-off\.db\.partial exists: another copy is being made, or was cut off; remove it/],
      [[join(folder, 'no/copy.db')], /^TARGET: the folder .*\/no does not exist; create it/],
      [[join(folder, 'x'.repeat(300))], /^TARGET: .* has too long a name/], [[join(folder, 'loop/copy.db')], /^TARGET: .* links that lead to each other/],
      [[`${taken}/copy.db`], /^TARGET: the folder .*taken\.db does not exist/],
      ...['-journal', '-index', '-index-journal', '-wal', '-lock'].map((suffix): [string[], RegExp] =>
        [[path + suffix], /^TARGET: .* is a name for files that belong to the database/]),
      [[join(folder, 'copy.db'), '--keep-days', '7'], /^--keep-days wants a folder/],
      [[], /^the arguments are TARGET/], [[''], /^the arguments are/], [[folder, folder], /^the arguments are/],
      [[folder, '--keep-days', '0'], /^the arguments are/], [[folder, '--force'], /^the arguments are/],
    ];
    for (const [args, problem] of cases) {
      const { status, last } = await runCommand(t, 'backup', path, args);
      assert.deepEqual([status, last['event']], [1, 'backup_refused'], args.join(' '));
      assert.match(problemsOf(last), problem);
    }
    assert.deepEqual(readdirSync(folder).toSorted(), ['cut-off.db.partial', 'loop', 'taken.db']);
    assert.equal(readFileSync(taken, 'utf8'), 'mine');
  });

  test('for what DATABASE_URL is', async (t) => {
    const folder = temporaryFolder(t);
    const sql = { 'other.db': 'CREATE TABLE something(x)', 'app.db': 'PRAGMA application_id = 5; CREATE TABLE messages(x)', 'empty.db': 'PRAGMA user_version = 0' };
    for (const [name, statements] of Object.entries(sql)) {
      const database = new DatabaseSync(join(folder, name));
      database.exec(statements);
      database.close();
    }
    writeFileSync(join(folder, 'text.db'), 'no database '.repeat(1000));
    mkdirSync(join(folder, 'folder.db'));
    const target = join(temporaryFolder(t), 'copy.db');
    const cases: [string, RegExp][] = [
      [join(folder, 'absent.db'), /absent\.db does not exist/], [join(folder, 'empty.db'), /is empty/],
      [join(folder, 'other.db'), /is a database of something else/], [join(folder, 'app.db'), /belongs to another application/],
      [join(folder, 'text.db'), /is not a SQLite database, or is damaged/], [join(folder, 'folder.db'), /is not a file/],
      ['postgresql://me@127.0.0.1/inbox', /names a PostgreSQL, whose own tools do this: pg_dump/], [':memory:', /must be the path/],
    ];
    for (const [url, problem] of cases) {
      const { status, last } = await runCommand(t, 'backup', url, [target]);
      assert.deepEqual([status, last['event']], [1, 'backup_refused'], url);
      assert.match(problemsOf(last), /^DATABASE_URL/);
      assert.match(problemsOf(last), problem);
    }
    assert.deepEqual(readdirSync(join(target, '..')), []);
  });

  test('where a page of it is damaged', async (t) => {
    const path = await makeDatabase(t);
    fill(path, 20_000);
    const bytes = readFileSync(path);
    const middle = Math.floor(bytes.length / 4096 / 2) * 4096;
    bytes.fill(0xff, middle, middle + 4096);
    writeFileSync(path, bytes);
    const target = join(temporaryFolder(t), 'copy.db');
    const { status, last } = await runCommand(t, 'backup', path, [target]);
    assert.equal(status, 1);
    assert.match(problemsOf(last), /^DATABASE_URL: (?:the database is damaged|the copy is not whole)/);
    assert.deepEqual(readdirSync(join(target, '..')), []);
  });
});
