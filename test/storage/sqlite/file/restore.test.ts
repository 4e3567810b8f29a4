/** A file that was copied or restored by whatever means opens with nothing lost, also where its header is. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { backup, DatabaseSync } from 'node:sqlite';
import { describe, test, type TestContext } from 'node:test';
import { EARLIER_SCHEMAS } from '../../../support/earlier-schemas.ts';
import { message } from '../../../support/messages.ts';
import { REFERENCE_SCHEMA } from '../../../support/reference-schema.ts';
import { openTestStorage } from '../../../support/storage.ts';
import { temporaryFolder } from '../../../support/temporary.ts';
import { waitFor } from '../../../support/wait.ts';

function open<Result>(path: string, use: (database: DatabaseSync) => Result): Result {
  const database = new DatabaseSync(path);
  try {
    return use(database);
  } finally {
    database.close();
  }
}

/** What the `.dump` of the sqlite3 shell says of a file, statement by statement. */
function dump(path: string, ...only: string[]): string[] {
  return open(path, (database) => {
    const objects = database.prepare("SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type = 'table' DESC, rowid").all()
      .filter(({ tbl_name }) => only.length === 0 || only.includes(String(tbl_name)));
    return objects.flatMap(({ type, name, sql }) => {
      const columns = database.prepare('SELECT group_concat(format(\'quote("%w")\', name), \'||\'\',\'\'||\') AS list FROM pragma_table_info(?)').get(String(name))?.['list'];
      const rows = type === 'table' ? database.prepare(`SELECT 'INSERT INTO "${String(name)}" VALUES(' || ${String(columns)} || ')' AS row FROM "${String(name)}"`).all() : [];
      return [name === 'sqlite_sequence' ? 'DELETE FROM sqlite_sequence' : String(sql), ...rows.map(({ row }) => String(row))];
    });
  });
}

/** As the shell does: it tells of a statement that fails, and goes on. */
function load(path: string, statements: readonly string[]): void {
  open(path, (database) => {
    database.exec('PRAGMA foreign_keys = OFF; BEGIN');
    for (const statement of statements) {
      try {
        database.exec(statement);
      } catch { /* Such as a table that is there already. */ }
    }
    database.exec('COMMIT');
  });
}

const removeFiles = (path: string) => {
  for (const suffix of ['', '-wal', '-shm', '-index', '-index-wal', '-index-shm']) rmSync(path + suffix, { force: true });
};

async function makeOurs(t: TestContext, path: string, ids: readonly string[]): Promise<{ generation: string; sequence: string }> {
  const storage = await openTestStorage(t, path);
  for (const message_id of ids) assert.equal(await storage.append(message({ message_id, from: '+12' })), 'stored');
  await waitFor('the index', () => storage.indexLag() === 0);
  const position = { generation: storage.generation, sequence: await storage.newestSequence() };
  await storage.close();
  return position;
}

async function assertOpens(t: TestContext, path: string, ids: readonly string[]) {
  for (const restart of [false, true]) {
    const storage = await openTestStorage(t, path);
    const expected = restart ? [...ids, 'after'] : ids;
    assert.equal(await storage.append(message({ message_id: ids[0] ?? '' })), 'conflicting_duplicate');
    const { items, total } = await storage.list({ limit: 100, offset: 0 });
    assert.deepEqual([items.map(({ message_id }) => message_id).toSorted(), total], [expected.toSorted(), expected.length]);
    const stored = await storage.stored({ after: storage.beforeAll, limit: 100 });
    assert.deepEqual(stored.items.map(({ message: { message_id } }) => message_id), expected);
    assert.equal((await storage.list({ limit: 100, offset: 0, from: '+12' })).total, ids.length);
    assert.equal((await storage.stats()).total, expected.length);
    assert.equal(await storage.append(message({ message_id: 'after' })), restart ? 'duplicate' : 'stored');
    await storage.close();
  }
  open(path, (database) => {
    const objects = database.prepare("SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' AND name NOT LIKE 'lost%' ORDER BY name").all();
    assert.deepEqual(objects.map(({ name }) => name),
      ['count_deletions', 'count_updates', 'erasures', 'generations', 'hidden', 'inbox', 'messages', 'messages_by_instant', 'notice_insertions',
        'remembered']);
    assert.equal(database.prepare('PRAGMA user_version').get()?.['user_version'], 4);
  });
}

describe('a dump that was loaded again', { concurrency: 4 }, () => {
  const IDS = ['first', 'b', 'c'];

  test('of a file of this version, with what was handed out before where its index is beside it', async (t) => {
    const path = join(temporaryFolder(t), 'app.db');
    const { generation, sequence } = await makeOurs(t, path, IDS);
    const statements = dump(path);
    for (const suffix of ['', '-wal', '-shm']) rmSync(path + suffix, { force: true });
    load(path, statements);
    const storage = await openTestStorage(t, path);
    assert.ok(await storage.holds({ generation, sequence }));
    await storage.close();
    await assertOpens(t, path, IDS);
  });

  for (const version of [1, 2, 3] as const) {
    test(`of a file of version ${version}`, async (t) => {
      const path = join(temporaryFolder(t), 'app.db');
      open(path, (database) => database.exec(EARLIER_SCHEMAS[version]));
      load(`${path}-new`, dump(path));
      await assertOpens(t, `${path}-new`, ['a']);
    });

    test(`of a file of version ${version}, whose version was kept`, async (t) => {
      const path = join(temporaryFolder(t), 'app.db');
      open(path, (database) => database.exec(`${EARLIER_SCHEMAS[version]}; PRAGMA application_id = 0`));
      await assertOpens(t, path, ['a']);
    });
  }

  test('of the table messages alone, with triggers that lack their table', async (t) => {
    const path = join(temporaryFolder(t), 'app.db');
    await makeOurs(t, path, IDS);
    load(`${path}-new`, dump(path, 'messages', 'sqlite_sequence'));
    await assertOpens(t, `${path}-new`, IDS);
  });

  test('that was loaded in part: what is there is counted', async (t) => {
    const path = join(temporaryFolder(t), 'app.db');
    await makeOurs(t, path, IDS);
    const [first = '', ...rest] = IDS;
    load(`${path}-new`, dump(path).filter((statement) => !statement.includes(`'${first}'`)));
    await assertOpens(t, `${path}-new`, rest);
  });

  test('into an empty file that was made for it by the service', async (t) => {
    const path = join(temporaryFolder(t), 'app.db');
    await makeOurs(t, path, IDS);
    await makeOurs(t, `${path}-new`, []);
    load(`${path}-new`, dump(path));
    await assertOpens(t, `${path}-new`, IDS);
  });

  test('of the reference program, into an empty file that was made for it by the service', async (t) => {
    const path = join(temporaryFolder(t), 'app.db');
    await makeOurs(t, path, []);
    load(path, [REFERENCE_SCHEMA, ...IDS.map((id) => `INSERT INTO messages(message_id, from_number, to_number, ts) VALUES ('${id}', '+12', '', '')`)]);
    await assertOpens(t, path, IDS);
  });

  const losses: Record<string, string> = {
    'an index': 'DROP INDEX messages_by_instant',
    'a trigger, while rows were changed': `DROP TRIGGER count_updates; UPDATE messages SET ts = '2025-01-15T08:00:00Z' WHERE message_id = 'c'`,
    'the count of messages': 'DROP TABLE inbox',
    'a row': 'DELETE FROM inbox',
    'the names of its starts': 'DROP TABLE generations',
    'their keys': `CREATE TABLE copied AS SELECT * FROM generations; DROP TABLE generations; ALTER TABLE copied RENAME TO generations`,
  };
  for (const [what, sql] of Object.entries(losses)) {
    test(`and has lost ${what}`, async (t) => {
      const path = join(temporaryFolder(t), 'app.db');
      await makeOurs(t, path, IDS);
      open(path, (database) => database.exec(sql));
      if (what.includes('changed')) {
        const storage = await openTestStorage(t, path);
        assert.equal((await storage.list({ limit: 1, offset: 0 })).items[0]?.message_id, 'c');
        await storage.close();
      }
      await assertOpens(t, path, IDS);
    });
  }
});

describe('a copy', { concurrency: 4 }, () => {
  const IDS = ['first', 'b'];
  const copies: Record<string, (from: string, to: string) => unknown> = {
    'by VACUUM INTO': (from, to) => open(from, (database) => database.prepare('VACUUM INTO ?').run(to)),
    'by the backup API, as of .backup': async (from, to) => {
      const database = new DatabaseSync(from);
      await backup(database, to);
      database.close();
    },
    'of its file': copyFileSync,
  };
  for (const [how, copy] of Object.entries(copies)) {
    test(how, async (t) => {
      const path = join(temporaryFolder(t), 'app.db');
      await makeOurs(t, path, IDS);
      await copy(path, `${path}-new`);
      await assertOpens(t, `${path}-new`, IDS);
    });
  }

  const hasShell = spawnSync('sqlite3', ['--version']).status === 0;
  for (const command of ['.dump', '.recover', '.clone']) {
    test(`by ${command} of the sqlite3 shell`, { skip: !hasShell && 'there is no sqlite3' }, async (t) => {
      const path = join(temporaryFolder(t), 'app.db');
      await makeOurs(t, path, IDS);
      const { stdout } = spawnSync('sqlite3', [path, command === '.clone' ? `.clone ${path}-new` : command]);
      // Some builds of the shell cannot.
      if (command === '.recover' && !stdout.includes('COMMIT')) return t.skip('it has no .recover that works');
      if (command !== '.clone') spawnSync('sqlite3', [`${path}-new`], { input: stdout });
      removeFiles(path);
      await assertOpens(t, `${path}-new`, IDS);
    });
  }
});
