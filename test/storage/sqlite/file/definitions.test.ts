/** A file near the reference schema is judged by its definitions: messages are kept in it with nothing lost, or it is refused by name. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, test, type TestContext } from 'node:test';
import { StartRefused } from '../../../../src/errors.ts';
import type { Storage } from '../../../../src/storage/storage.ts';
import { message } from '../../../support/messages.ts';
import { REFERENCE_SCHEMA } from '../../../support/reference-schema.ts';
import { openTestStorage } from '../../../support/storage.ts';
import { temporaryFolder } from '../../../support/temporary.ts';
import { waitFor } from '../../../support/wait.ts';

const OLD = ["('old', '+12', '+13', '2025-01-15T09:00:00Z', 'old text')", "('old2', '+12', '+13', '2025-01-15T09:00:01Z', '')"];
const INSERT = `INSERT INTO messages(message_id, from_number, to_number, ts, text) VALUES ${OLD.join(', ')}`;
const OLD_IDS = ['old', 'old2'];

const reference = (changed: string, into: string) => {
  assert.ok(REFERENCE_SCHEMA.includes(changed), changed);
  return REFERENCE_SCHEMA.replace(changed, into);
};
/** The table with a table constraint, or with more columns. */
const withMore = (more: string) => reference('text TEXT NULL)', `text TEXT NULL, ${more})`);

function makeDatabase(path: string, statements: readonly string[]): void {
  const database = new DatabaseSync(path, { enableForeignKeyConstraints: false, enableDoubleQuotedStringLiterals: true });
  for (const statement of statements) database.exec(statement);
  database.close();
}

function readAll(path: string, sql: string): unknown[][] {
  const database = new DatabaseSync(path, { readOnly: true });
  try {
    return database.prepare(sql).all().map((row) => Object.values(row));
  } finally {
    database.close();
  }
}

async function storedIds(storage: Storage): Promise<string[]> {
  const { items } = await storage.stored({ after: storage.beforeAll, limit: 1000 });
  return items.map(({ message: { message_id } }) => message_id);
}

/** Every way to read has to say that the messages are these, in the order of storing. */
async function assertHolds(storage: Storage, ids: readonly string[]): Promise<void> {
  const { items, total } = await storage.list({ limit: 100, offset: 0 });
  assert.deepEqual([items.map(({ message_id }) => message_id).toSorted(), total], [ids.toSorted(), ids.length]);
  assert.deepEqual(await storedIds(storage), ids);
  assert.equal((await storage.stats()).total, ids.length);
  await waitFor('the index', () => storage.indexLag() === 0 && storage.degraded().length === 0);
  const bySender = await Promise.all((await storage.stats()).topSenders.map(async ({ from, count }) => {
    assert.equal((await storage.list({ limit: 100, offset: 0, from })).items.length, count, from);
    return count;
  }));
  assert.equal(bySender.reduce((sum, count) => sum + count, 0), ids.length);
}

/** Stores two ids that differ in their letters alone, reads in every way, and does so again after a restart. */
async function assertServes(t: TestContext, path: string, before: readonly string[]): Promise<void> {
  const storage = await openTestStorage(t, path);
  await assertHolds(storage, before);
  const long = message({ message_id: 'CASE', text: 'x'.repeat(4096) });
  assert.equal(await storage.append(message({ message_id: 'case', text: null })), 'stored');
  assert.equal(await storage.append(long), 'stored');
  assert.equal(await storage.append(long), 'duplicate');
  assert.equal(await storage.append(message({ message_id: 'case', text: 'other' })), 'conflicting_duplicate');
  const ids = [...before, 'case', 'CASE'];
  await assertHolds(storage, ids);
  const position = { generation: storage.generation, sequence: await storage.newestSequence() };
  await storage.close();
  const notices: string[] = [];
  const again = await openTestStorage(t, path, { notice: (_level, event) => notices.push(event) });
  assert.deepEqual(notices, [], 'is repaired once');
  await assertHolds(again, ids);
  assert.ok(await again.holds(position));
  assert.equal(await again.append(long), 'duplicate');
  await again.close();
}

describe('messages are kept with nothing lost', { concurrency: 4 }, () => {
  const tables: Record<string, string> = {
    'as the reference makes it': REFERENCE_SCHEMA,
    'without AUTOINCREMENT': reference(' AUTOINCREMENT', ''),
    'without a primary key': reference('id INTEGER PRIMARY KEY AUTOINCREMENT', 'id INTEGER'),
    'whose id is a key, but no row id': reference('id INTEGER PRIMARY KEY AUTOINCREMENT', 'id INT PRIMARY KEY'),
    'whose id is a descending key, which is no row id either': reference('PRIMARY KEY AUTOINCREMENT', 'PRIMARY KEY DESC'),
    'whose id is text': reference('id INTEGER PRIMARY KEY AUTOINCREMENT', 'id TEXT'),
    'whose message_id is the primary key': reference('id INTEGER PRIMARY KEY AUTOINCREMENT, message_id TEXT UNIQUE', 'id INTEGER, message_id TEXT PRIMARY KEY'),
    'WITHOUT ROWID': `${reference('id INTEGER PRIMARY KEY AUTOINCREMENT, message_id TEXT UNIQUE', 'id INTEGER, message_id TEXT PRIMARY KEY')} WITHOUT ROWID`,
    'with a composite key': reference(' PRIMARY KEY AUTOINCREMENT', '').replace('text TEXT NULL', 'text TEXT NULL, PRIMARY KEY (id, message_id)'),
    'whose message_id is NOCASE': reference('message_id TEXT', 'message_id TEXT COLLATE NOCASE'),
    'whose message_id is RTRIM': reference('message_id TEXT', 'message_id TEXT COLLATE RTRIM'),
    'whose senders are NOCASE': reference('from_number TEXT', 'from_number TEXT COLLATE NOCASE'),
    'that is STRICT': `${REFERENCE_SCHEMA} STRICT`,
    'that is STRICT, with more to mend and a column of any type': `${withMore('note ANY')} STRICT`.replace('from_number TEXT', 'from_number TEXT COLLATE NOCASE'),
    'with a CHECK on a column': reference('from_number TEXT NOT NULL', "from_number TEXT NOT NULL CHECK (from_number LIKE '+12%')"),
    'with a CHECK of its own': withMore('CONSTRAINT short CHECK (length(text) < 100)'),
    'that ignores what is NULL': reference('text TEXT NULL', "text TEXT NOT NULL ON CONFLICT IGNORE"),
    'that keeps the last version': reference('UNIQUE NOT NULL', 'UNIQUE ON CONFLICT REPLACE NOT NULL'),
    'whose text is NOT NULL': reference('text TEXT NULL', "text TEXT NOT NULL DEFAULT ''"),
    'whose numbers are INTEGER': reference('from_number TEXT', 'from_number INTEGER'),
    'whose numbers are REAL': reference('from_number TEXT', 'from_number REAL'),
    'whose times are DATETIME': reference('ts TEXT', 'ts DATETIME'),
    'whose texts are BLOB': reference('text TEXT', 'text BLOB'),
    'whose columns have no type': 'CREATE TABLE messages(id INTEGER PRIMARY KEY AUTOINCREMENT, message_id UNIQUE, from_number, to_number, ts, text)',
    'of VARCHAR': reference('message_id TEXT', 'message_id VARCHAR(64)'),
    'with defaults': reference('text TEXT NULL', "text TEXT DEFAULT 'none'").replace('ts TEXT NOT NULL', 'ts TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP'),
    'in other letters': 'CREATE TABLE Messages(ID Integer Primary Key AutoIncrement, Message_ID Text Unique, From_Number Text, To_Number Text, TS Text, Text Text)',
    'in quotes and with comments': `CREATE TABLE "messages"([id] INTEGER PRIMARY KEY AUTOINCREMENT, -- CHECK
      \`message_id\` TEXT UNIQUE, "from_number" TEXT, to_number TEXT /* COLLATE NOCASE */, ts TEXT, text TEXT DEFAULT 'a CHECK')`,
    'with a unique key that would refuse messages': withMore('UNIQUE (from_number, to_number, ts)'),
    'whose ids are unique by an index of its own': `${reference('UNIQUE ', '')}; CREATE UNIQUE INDEX own ON messages(message_id DESC)`,
    'whose ids are unique in any letters by an index of its own': `${reference('UNIQUE ', '')}; CREATE UNIQUE INDEX own ON messages(message_id COLLATE NOCASE)`,
    'with a key of id beside its own': reference('id INTEGER PRIMARY KEY AUTOINCREMENT, message_id TEXT UNIQUE', 'id INTEGER UNIQUE, message_id TEXT PRIMARY KEY'),
    'that was analysed': `${reference(' AUTOINCREMENT', '')}; ANALYZE`,
    'with a log of its own': `PRAGMA journal_mode = WAL; ${reference(' AUTOINCREMENT', '')}`,
    'with vacuuming by steps': `PRAGMA auto_vacuum = INCREMENTAL; PRAGMA page_size = 1024; ${reference(' AUTOINCREMENT', '')}`,
    'with a foreign key that leads nowhere, to be made anew': reference(' AUTOINCREMENT', '').replace('from_number TEXT', 'from_number TEXT REFERENCES contacts(number)'),
    'with a foreign key that leads nowhere': reference('from_number TEXT', 'from_number TEXT REFERENCES contacts(number) ON DELETE CASCADE'),
  };
  for (const [kind, table] of Object.entries(tables)) {
    test(`a table ${kind}`, async (t) => {
      const path = join(temporaryFolder(t), 'app.db');
      makeDatabase(path, [table, INSERT]);
      await assertServes(t, path, OLD_IDS);
      const rows = readAll(path, 'SELECT id, message_id, from_number, to_number, ts, text FROM messages ORDER BY id LIMIT 2');
      // What the column had made of it before.
      const sender = kind.includes('REAL') ? '12.0' : kind.includes('INTEGER') ? '12' : '+12';
      assert.deepEqual(rows, [
        [1, 'old', sender, '+13', '2025-01-15T09:00:00Z', 'old text'], [2, 'old2', sender, '+13', '2025-01-15T09:00:01Z', ''],
      ]);
    });
  }

  const beside: Record<string, readonly string[]> = {
    'an index of ids in any letters': ['CREATE UNIQUE INDEX one ON messages(message_id COLLATE NOCASE)'],
    'an index of another definition under a name of ours': ['CREATE INDEX messages_by_instant ON messages(from_number)'],
    'an index of an expression': ['CREATE INDEX by_length ON messages(length(text)) WHERE text IS NOT NULL'],
    'a trigger that keeps a copy elsewhere': [
      'CREATE TABLE copies(text)', 'CREATE TRIGGER copy AFTER INSERT ON messages BEGIN INSERT INTO copies VALUES (new.text); END',
    ],
    'a trigger and an index with texts in double quotes, as SQLite allows them': [
      'CREATE TABLE seen(at)', 'CREATE TRIGGER see AFTER INSERT ON messages BEGIN INSERT INTO seen VALUES (datetime("now")); END',
      'CREATE INDEX some ON messages(ts) WHERE text <> "none"',
    ],
    'a full-text index': [
      "CREATE VIRTUAL TABLE texts USING fts5(text, content='messages', content_rowid='id')",
      'CREATE TRIGGER texts_insert AFTER INSERT ON messages BEGIN INSERT INTO texts(rowid, text) VALUES (new.id, new.text); END',
    ],
    'a view that leads nowhere': ['CREATE VIEW broken AS SELECT * FROM gone'],
    'a view, and rows of another table that belong to its own': [
      'CREATE VIEW recent AS SELECT message_id FROM messages', 'CREATE TABLE notes(message INTEGER REFERENCES messages(id) ON DELETE CASCADE, note)',
      "INSERT INTO notes VALUES (1, 'kept')",
    ],
  };
  for (const [kind, more] of Object.entries(beside)) {
    for (const table of [REFERENCE_SCHEMA, reference(' AUTOINCREMENT', '')]) {
      test(`beside ${kind}, ${table === REFERENCE_SCHEMA ? 'as it is' : 'where the table is made anew'}`, async (t) => {
        const path = join(temporaryFolder(t), 'app.db');
        makeDatabase(path, [table, INSERT, ...more]);
        const kept = "SELECT name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite%' AND name NOT IN ('messages', 'one', 'messages_by_instant') ORDER BY name";
        const before = readAll(path, kept);
        await assertServes(t, path, OLD_IDS);
        const names = before.map(([name]) => name);
        assert.deepEqual(readAll(path, kept).filter(([name]) => names.includes(name)), before);
        if (kind.includes('rows')) assert.deepEqual(readAll(path, 'SELECT * FROM notes'), [[1, 'kept']]);
        if (kind.includes('copy')) assert.equal(readAll(path, 'SELECT * FROM copies').length, 2);
      });
    }
  }

  test('columns of its own stay in their places, with types, collations, defaults and values', async (t) => {
    const path = join(temporaryFolder(t), 'app.db');
    makeDatabase(path, [
      `CREATE TABLE messages(tenant TEXT COLLATE NOCASE DEFAULT 'none', id INTEGER PRIMARY KEY, message_id TEXT UNIQUE, "my ""note" BLOB,
        from_number TEXT, to_number TEXT, ts TEXT, text TEXT, score REAL NOT NULL DEFAULT (1 + 0.5), reference TEXT UNIQUE)`,
      `INSERT INTO messages VALUES ('Me', 7, 'old', x'00ff', '+12', '+13', '2025-01-15T09:00:00Z', NULL, 2, 'r1')`,
    ]);
    await assertServes(t, path, ['old']);
    assert.deepEqual(readAll(path, `SELECT tenant = 'ME', * FROM messages ORDER BY id LIMIT 1`)[0]?.slice(0, 11),
      [1, 'Me', 7, 'old', new Uint8Array([0, 255]), '+12', '+13', '2025-01-15T09:00:00Z', null, 2, 'r1']);
    assert.deepEqual(readAll(path, `SELECT tenant, "my ""note", score, reference, id FROM messages WHERE message_id = 'CASE'`), [['none', null, 1.5, null, 9]]);
    assert.throws(() => makeDatabase(path, ["INSERT INTO messages(message_id, from_number, to_number, ts, reference) VALUES ('x', '', '', '', 'r1')"]), /UNIQUE/);
  });

  test('ids stay where they are whole numbers that no earlier row has; others come after the largest, in the order of the rows', async (t) => {
    const path = join(temporaryFolder(t), 'app.db');
    const ids = ['NULL', '5', '-3', '5', 'NULL', '9007199254740993', "'12'"];
    makeDatabase(path, [
      reference('id INTEGER PRIMARY KEY AUTOINCREMENT', 'id'),
      `INSERT INTO messages VALUES ${ids.map((id, index) => `(${id}, 'm${index}', '+12', '+13', 'soon', NULL)`).join(', ')}`,
    ]);
    await assertServes(t, path, ['m2', 'm1', 'm6', 'm5', 'm0', 'm3', 'm4']);
    assert.deepEqual(readAll(path, 'SELECT CAST(id AS TEXT) FROM messages ORDER BY id LIMIT 5').flat(),
      ['-3', '5', '12', '9007199254740993', '9007199254740994']);
  });

  test('an id that was once given out is not given out again', async (t) => {
    const path = join(temporaryFolder(t), 'app.db');
    makeDatabase(path, [reference('message_id TEXT', 'message_id TEXT COLLATE NOCASE'), INSERT, "UPDATE sqlite_sequence SET seq = 40"]);
    await assertServes(t, path, OLD_IDS);
    assert.deepEqual(readAll(path, 'SELECT id FROM messages ORDER BY id').flat(), [1, 2, 41, 42]);
  });

  test('the last id is given out, and no other: that is told as what it is, and stays so', async (t) => {
    const path = join(temporaryFolder(t), 'app.db');
    makeDatabase(path, [REFERENCE_SCHEMA, "INSERT INTO messages VALUES (9223372036854775806, 'old', '+12', '+13', 'soon', NULL)"]);
    const storage = await openTestStorage(t, path);
    assert.equal(await storage.append(message()), 'stored');
    const reason = { reason: 'no row id is left' };
    await assert.rejects(storage.append(message({ message_id: 'more' })), reason);
    for (let count = 0; count < 2; count += 1) await assert.rejects(storage.probe(), reason);
    assert.deepEqual(await storedIds(storage), ['old', 'm1']);
    await storage.close();
    await assert.rejects(openTestStorage(t, path), /no id left/);
  });

  test('a sequence that is behind is brought up to the largest id', async (t) => {
    const path = join(temporaryFolder(t), 'app.db');
    makeDatabase(path, [REFERENCE_SCHEMA, INSERT, 'DELETE FROM sqlite_sequence']);
    assert.equal(await (await openTestStorage(t, path)).newestSequence(), '2');
  });

  test('a repair is told of, by what was in the way', async (t) => {
    const path = join(temporaryFolder(t), 'app.db');
    makeDatabase(path, [reference(' AUTOINCREMENT', ''), INSERT]);
    const notices: unknown[] = [];
    await openTestStorage(t, path, { notice: (_level, event, fields) => notices.push([event, fields]) });
    assert.deepEqual(notices[0], ['repairing', { table: 'messages', reasons: ['id is no INTEGER PRIMARY KEY AUTOINCREMENT'] }]);
  });
});

describe('what cannot be kept is refused by name, and the file is left as it was', { concurrency: 4 }, () => {
  const LAST = '9223372036854775807';
  const files: Record<string, [readonly string[], RegExp]> = {
    'a view messages': [['CREATE TABLE kept(id)', 'CREATE VIEW messages AS SELECT id FROM kept'], /has a view messages where a table is needed/],
    'a view messages with triggers': [[
      reference('messages', 'kept'), 'CREATE VIEW messages AS SELECT * FROM kept',
      'CREATE TRIGGER t INSTEAD OF INSERT ON messages BEGIN INSERT INTO kept VALUES (NULL, 1, 2, 3, 4, 5); END',
    ], /has a view messages/],
    'a virtual table messages': [['CREATE VIRTUAL TABLE messages USING fts5(message_id, from_number, to_number, ts, text)'], /virtual table messages/],
    'a trigger that refuses': [[REFERENCE_SCHEMA, INSERT, `CREATE TRIGGER "no ""more" BEFORE INSERT ON messages BEGIN SELECT RAISE(ABORT, 'no'); END`],
      /DROP TRIGGER "no ""more"/],
    'a trigger that drops': [[REFERENCE_SCHEMA, 'CREATE TRIGGER t BEFORE INSERT ON messages BEGIN SELECT RAISE(IGNORE); END'], /trigger .*DROP TRIGGER "t"/],
    'a trigger that deletes': [[REFERENCE_SCHEMA, 'CREATE TRIGGER t AFTER INSERT ON messages BEGIN DELETE FROM "messages" WHERE id < new.id - 9; END'], /DROP TRIGGER "t"/],
    'a trigger that sets off one that deletes': [[
      REFERENCE_SCHEMA, INSERT, 'CREATE TABLE l(a)', 'CREATE TRIGGER t AFTER INSERT ON messages BEGIN INSERT INTO l VALUES (1); END',
      'CREATE TRIGGER u AFTER INSERT ON l BEGIN DELETE FROM messages WHERE id < (SELECT max(id) FROM messages) - 5; END',
    ], /DROP TRIGGER "u"/],
    'a trigger that sets off one that refuses': [[
      REFERENCE_SCHEMA, INSERT, 'CREATE TABLE l(a)', 'CREATE TRIGGER t AFTER INSERT ON messages BEGIN INSERT INTO l VALUES (1); END',
      "CREATE TRIGGER u BEFORE INSERT ON l WHEN (SELECT count(*) FROM l) > 9 BEGIN SELECT RAISE(ABORT, 'no'); END",
    ], /DROP TRIGGER "u"/],
    'a trigger that changes': [[REFERENCE_SCHEMA, "CREATE TRIGGER t AFTER INSERT ON messages BEGIN UPDATE OR IGNORE messages SET text = ''; END"], /DROP TRIGGER "t"/],
    'a trigger that refuses changes': [[REFERENCE_SCHEMA, INSERT, `CREATE TRIGGER t BEFORE UPDATE ON messages BEGIN SELECT RAISE(ABORT, 'no'); END`], /DROP TRIGGER "t"/],
    'a trigger that leads nowhere': [[REFERENCE_SCHEMA, 'CREATE TRIGGER t AFTER INSERT ON messages BEGIN INSERT INTO gone VALUES (1); END'], /no such table: main\.gone; look at .*t/],
    'an index that wants JSON': [[REFERENCE_SCHEMA, "CREATE INDEX by_kind ON messages(json_extract(text, '$.kind'))"], /malformed JSON; look at .*by_kind/],
    'a unique index of an expression': [[REFERENCE_SCHEMA, 'CREATE UNIQUE INDEX u ON messages(lower(text))'], /unique index on an expression.*DROP INDEX "u"/],
    'a partial unique index': [[REFERENCE_SCHEMA, "CREATE UNIQUE INDEX u ON messages(from_number) WHERE text = 'x'"], /unique index on from_number \(partial\)/],
    'ids that are unique in part only': [[reference('UNIQUE ', ''), "CREATE UNIQUE INDEX u ON messages(message_id) WHERE ts > '2020'"], /not unique/],
    'a generated column': [[reference('text TEXT NULL', "text TEXT AS ('x')")], /generated column text/],
    'a generated column of its own, where the table has to be made anew': [[withMore('size INTEGER AS (length(text))').replace(' AUTOINCREMENT', '')], /generated column size/],
    'a column of another kind under a name of ours': [[withMore('received_at TEXT')], /a column received_at of its own/],
    'values of its own under a name of ours': [[withMore('instant TEXT'), "INSERT INTO messages VALUES (1, 'm', '+12', '+13', 'soon', NULL, 'noon')"], /a column instant of its own/],
    'an index of another table under a name of ours': [[REFERENCE_SCHEMA, 'CREATE TABLE other(a)', 'CREATE INDEX messages_by_instant ON other(a)'], /messages_by_instant/],
    'ids that are names': [[reference('id INTEGER PRIMARY KEY AUTOINCREMENT', 'id TEXT PRIMARY KEY'), `INSERT INTO messages VALUES ('b5a0', 'm', '+12', '+13', 'soon', NULL)`],
      /id is no whole number/],
    'an id that is the last': [[REFERENCE_SCHEMA, `INSERT INTO messages VALUES (${LAST}, 'm', '+12', '+13', 'soon', NULL)`], /no id left.*UPDATE/],
    'an id that was the last': [[REFERENCE_SCHEMA, INSERT, `UPDATE sqlite_sequence SET seq = ${LAST}`], /no id left.*UPDATE/],
    'two ids that are one text': [[REFERENCE_SCHEMA, INSERT, "INSERT INTO messages VALUES (9, x'6f6c64', '+12', '+13', 'soon', NULL)"], /two messages of one message_id/],
    'two messages without an id': [[reference(' NOT NULL', ''), ...[1, 2].map((id) => `INSERT INTO messages VALUES (${id}, NULL, '+12', '+13', 'soon', NULL)`)], /two messages of one message_id/],
    'tables of a later version': [[REFERENCE_SCHEMA, 'CREATE TABLE inbox(only_row, messages, edits, probed_at, later)'], /not as this version knows them/],
  };
  for (const [kind, [statements, problem]] of Object.entries(files)) {
    test(kind, async (t) => {
      const path = join(temporaryFolder(t), 'app.db');
      makeDatabase(path, statements);
      const before = readFileSync(path);
      await assert.rejects(openTestStorage(t, path), (error: unknown) => {
        assert.ok(error instanceof StartRefused);
        assert.match(error.message, problem);
        assert.doesNotMatch(error.message, /writable/);
        return true;
      });
      assert.deepEqual(readFileSync(path), before);
      const [, advice] = /: ((?:DROP|UPDATE) .*)$/.exec(await openTestStorage(t, path).then(() => '', String)) ?? [];
      if (advice === undefined || kind.includes('in part')) return;
      makeDatabase(path, [advice]);
      await openTestStorage(t, path);
    });
  }
});
