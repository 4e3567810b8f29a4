/** Moves between a file and a throw-away PostgreSQL, as an operator starts them. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, describe, test, type TestContext } from 'node:test';
import { openPostgresTarget } from '../../../src/storage/postgres/moving.ts';
import { openSqliteSource } from '../../../src/storage/sqlite/moving/source.ts';
import { EARLIER_SCHEMAS } from '../../support/earlier-schemas.ts';
import { hide } from '../../support/hide.ts';
import { message } from '../../support/messages.ts';
import { isInstalled, NOT_INSTALLED, startPostgres, SUPERUSER, type Postgres } from '../../support/postgres.ts';
import { REFERENCE_SCHEMA } from '../../support/reference-schema.ts';
import { CHECKOUT } from '../../support/server-process.ts';
import { openTestStorage } from '../../support/storage.ts';
import { temporaryFolder } from '../../support/temporary.ts';

interface Move {
  readonly child: ChildProcess;
  readonly lines: Readonly<Record<string, unknown>>[];
  readonly ended: Promise<number | null>;
}

const SCRIPT = join(CHECKOUT, 'src/move.ts');

function start(t: TestContext, args: readonly string[], env: Record<string, string> = {}): Move {
  const child = spawn(process.execPath, [SCRIPT, ...args], { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'inherit'] });
  const lines: Readonly<Record<string, unknown>>[] = [];
  createInterface(child.stdout).on('line', (line) => lines.push(JSON.parse(line)));
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
  t.after(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  return { child, lines, ended };
}

/** The last line of a move that has to end so. */
async function finish(t: TestContext, status: number, ...args: string[]): Promise<Readonly<Record<string, unknown>>> {
  const { lines, ended } = start(t, args);
  assert.equal(await ended, status, JSON.stringify(lines));
  return lines.at(-1) ?? {};
}

const problemsOf = (line: Readonly<Record<string, unknown>>) => JSON.stringify(line['problems']);

/** A file of the reference schema, or of another. */
function makeFile(t: TestContext, sql: string, schema = REFERENCE_SCHEMA): string {
  const path = join(temporaryFolder(t), 'app.db');
  const database = new DatabaseSync(path);
  database.exec(`${schema}; ${sql}`);
  database.close();
  return path;
}

const fill = (messages: number) => `
  INSERT INTO messages(message_id, from_number, to_number, ts, text)
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${messages})
  SELECT 'm' || i, '+12' || (i % 7), '+13', strftime('%Y-%m-%dT%H:%M:%SZ', 1700000000 + i, 'unixepoch'), 'text ' || i FROM n`;

/** All rows in the order of storing, without their ids. */
function rowsOf(path: string): unknown[] {
  const database = new DatabaseSync(path, { readOnly: true });
  try {
    const { has_times } = database.prepare(`
      SELECT count(*) AS has_times FROM pragma_table_info('messages') WHERE name = 'received_at'`).get() ?? {};
    const rows = database.prepare(`
      SELECT message_id, from_number, to_number, ts, text, ${has_times === 1 ? 'received_at' : 'NULL AS received_at'} FROM messages ORDER BY id`);
    return rows.all();
  } finally {
    database.close();
  }
}

const hashOf = (path: string) => createHash('sha256').update(readFileSync(path)).digest('hex');

if (isInstalled) testOn(await startPostgres({ after }));
else test('moving between a file and PostgreSQL', { skip: NOT_INSTALLED }, () => {});

function testOn(server: Postgres): void {
  const urlOf = (database: string) => `postgresql://${SUPERUSER}@127.0.0.1:${server.port}/${database}`;

  /** What the counters are, and what they should be. */
  const counters = (database: string) => server.sql(`
    SELECT messages = (SELECT count(*) FROM messages) AND messages = (SELECT sum(messages) FROM senders)
      AND senders = (SELECT count(DISTINCT from_number) FROM messages) AND senders = (SELECT count(*) FROM senders)
      AND messages * 2 = (SELECT sum(messages) FROM instants) AND newest = (SELECT max(id) FROM messages)
      AND (SELECT count(received_at) FROM messages) = (SELECT coalesce(sum(messages), 0) FROM arrivals)
      AND (SELECT min(id) = 1 AND max(id) = count(*) FROM messages)
      AND to_regclass('messages_by_text') IS NOT NULL FROM inbox`, database);

  describe('into PostgreSQL and back', () => {
    test('a file of this version keeps every row, and when each came', async (t) => {
      const path = join(temporaryFolder(t), 'app.db');
      const storage = await openTestStorage(t, path);
      for (let index = 0; index < 20; index += 1) await storage.append(message({ message_id: `m${index}`, text: index % 3 === 0 ? null : `é\u{1F600} ${index}` }));
      await storage.close();
      const before = rowsOf(path);
      const database = await server.createDatabase();

      const { event, messages, sha256 } = await finish(t, 0, path, urlOf(database));
      assert.deepEqual([event, messages], ['moved', 20]);
      assert.equal(await counters(database), 't');
      assert.equal(await server.sql('SELECT count(received_at) FROM messages', database), '20');

      const back = join(temporaryFolder(t), 'back.db');
      assert.equal((await finish(t, 0, urlOf(database), back))['sha256'], sha256);
      assert.deepEqual(rowsOf(back), before);
      assert.equal(statSync(back).mode & 0o777, 0o600);
      const opened = await openTestStorage(t, back);
      assert.equal((await opened.stats()).total, 20);
      assert.equal(await opened.append(message({ message_id: 'm0', text: null })), 'duplicate');
      assert.equal(await opened.append(message({ message_id: 'new' })), 'stored');
    });

    test('a file of the reference schema is read as it is, rows of any kind', async (t) => {
      const path = makeFile(t, `
        INSERT INTO messages VALUES (3, 'gap', '+12', '+13', '2025-01-15T10:00:00.50Z', NULL);
        INSERT INTO messages VALUES (-7, 'before', 'nobody', '', 'yesterday', '');
        INSERT INTO messages VALUES (9007199254740993, x'6269672069', 17, '+13', '2025-02-30T10:00:00Z', 12.5);
        INSERT INTO messages VALUES (9223372036854775807, 'last', '+12', '+13', '2025-01-15T10:00:00Z', x'ff');
        INSERT INTO messages VALUES (9007199254740992, '\u{fffd}', '+12', '+13', '2025-01-15T10:00:00Z', 'back\\slash "quoted" \u2028 \u0001')`);
      const before = hashOf(path);
      const database = await server.createDatabase();
      await finish(t, 0, path, urlOf(database));
      assert.equal(hashOf(path), before);
      assert.equal(
        await server.sql("SELECT id, message_id, from_number, instant, coalesce(text, 'null') FROM messages WHERE id <> 3 ORDER BY id", database),
        ['1|before|nobody|yesterday|', '2|gap|+12|2025-01-15T10:00:00.5|null', '4|big i|17|2025-02-30T10:00:00Z|12.5', "5|last|+12|2025-01-15T10:00:00|X'FF'"].join('\n'),
      );
      assert.equal(await counters(database), 't');
      const back = join(temporaryFolder(t), 'back.db');
      await finish(t, 0, urlOf(database), back);
      assert.deepEqual(rowsOf(back).map((row) => JSON.stringify(row)).at(2), JSON.stringify({
        message_id: '\u{fffd}', from_number: '+12', to_number: '+13', ts: '2025-01-15T10:00:00Z', text: 'back\\slash "quoted" \u2028 \u0001', received_at: null,
      }));
    });

    test('a file is read in parts, whatever its row ids', async (t) => {
      const ids = ['-9223372036854775807', '0', '9007199254740992', '9007199254740993', '9007199254740994', '9223372036854775807'];
      const source = await openSqliteSource(makeFile(t, ids.map((id) => `INSERT INTO messages VALUES (${id}, 'm${id}', '+12', '+13', '', NULL)`).join(';')));
      t.after(() => source.close());
      const read: string[] = [];
      for (let last: string | null = null; ;) {
        const [next] = await source.read(last, 1);
        if (next === undefined) break;
        read.push(last = next.sequence);
      }
      assert.deepEqual(read, ids);
    });

    for (const version of [1, 2, 3] as const) {
      test(`a file of schema ${version} is read as it is`, async (t) => {
        const path = makeFile(t, '', EARLIER_SCHEMAS[version]);
        const before = hashOf(path);
        const database = await server.createDatabase();
        await finish(t, 0, path, urlOf(database));
        assert.equal(hashOf(path), before);
        assert.equal(await server.sql('SELECT id, message_id, received_at FROM messages', database), '1|a|1736935200000');
      });
    }

    test('what is erased or expired stays where it is, though its row may still be there', async (t) => {
      const path = join(temporaryFolder(t), 'app.db');
      let now = 1000;
      const storage = await openTestStorage(t, path, {}, { now: () => now });
      for (const message_id of ['expired', 'a', 'erased', 'b']) {
        await storage.append(message({ message_id }));
        now += 1000;
      }
      await storage.close();
      hide(path, { which: { message_id: 'erased' }, expiredBefore: 1500 });
      assert.equal(rowsOf(path).length, 4);
      const database = await server.createDatabase();
      assert.equal((await finish(t, 0, path, urlOf(database)))['messages'], 2);
      assert.equal(await server.sql('SELECT id, message_id FROM messages ORDER BY id', database), '1|a\n2|b');
      assert.equal(await counters(database), 't');
      // What is there already is compared with what is visible too.
      assert.equal((await finish(t, 0, urlOf(database), path))['messages'], 2);
    });

    test('without a message there is a database of none', async (t) => {
      const database = await server.createDatabase();
      assert.equal((await finish(t, 0, makeFile(t, ''), urlOf(database)))['messages'], 0);
      const back = join(temporaryFolder(t), 'back.db');
      await finish(t, 0, urlOf(database), back);
      assert.deepEqual(rowsOf(back), []);
    });
  });

  describe('again', () => {
    /** Kills a move that has stored some, and not all. */
    async function kill(t: TestContext, source: string, target: string): Promise<void> {
      const { child, lines, ended } = start(t, [source, target]);
      child.stdout?.on('data', (chunk) => {
        if (String(chunk).includes('"step":"copying"')) child.kill('SIGKILL');
      });
      assert.equal(await ended, null);
      assert.ok(!lines.some(({ step }) => step === 'comparing'), 'it was over before');
    }

    test('a move that was killed goes on, in either direction', async (t) => {
      const path = makeFile(t, fill(30_000));
      const database = await server.createDatabase();
      await kill(t, path, urlOf(database));
      await kill(t, path, urlOf(database));
      const again = await finish(t, 0, path, urlOf(database));
      assert.equal(again['messages'], 30_000);
      assert.equal(await counters(database), 't');

      const back = join(temporaryFolder(t), 'back.db');
      await kill(t, urlOf(database), back);
      assert.notEqual(rowsOf(back).length, 0);
      assert.equal((await finish(t, 0, urlOf(database), back))['sha256'], again['sha256']);
      assert.deepEqual(rowsOf(back), rowsOf(path));
    });

    test('what was stored since goes behind what is there', async (t) => {
      const path = makeFile(t, fill(10));
      const database = await server.createDatabase();
      await finish(t, 0, path, urlOf(database));
      const source = new DatabaseSync(path);
      source.exec("INSERT INTO messages VALUES (11, 'later', '+12', '+13', '2025-01-15T10:00:00Z', NULL)");
      source.close();
      assert.equal((await finish(t, 0, path, urlOf(database)))['messages'], 11);
      assert.equal(await counters(database), 't');
    });
  });

  test('a server that goes away ends a move, and it goes on when that is back', async (t) => {
    const other = await startPostgres(t);
    const path = makeFile(t, fill(30_000));
    const target = `postgresql://${SUPERUSER}@127.0.0.1:${other.port}/${await other.createDatabase()}`;
    const { child, lines, ended } = start(t, [path, target]);
    child.stdout?.on('data', (chunk) => {
      if (String(chunk).includes('"step":"copying"')) void other.kill();
    });
    assert.equal(await ended, 70, JSON.stringify(lines));
    assert.match(JSON.stringify(lines.at(-1)), /"event":"move_failed","reason":"(?:PostgreSQL does not answer|the outcome of the commit is not known)"/);
    assert.match(problemsOf(await finish(t, 1, path, target)), /no PostgreSQL can be used: connecting: ECONNREFUSED/);
    await other.restart();
    assert.equal((await finish(t, 0, path, target))['messages'], 30_000);
  });

  describe('is refused', () => {
    test('what PostgreSQL cannot hold is named before anything is written', async (t) => {
      // Nothing that could be compressed, and with its sender and time as much as an index takes of one.
      const longest = randomBytes(2616).toString('base64').slice(0, 2616);
      const path = makeFile(t, `${fill(30)};
        ALTER TABLE messages ADD COLUMN received_at INTEGER;
        UPDATE messages SET text = 'a' || char(0) || 'b' WHERE id = 4;
        UPDATE messages SET text = CAST(x'61ff62' AS TEXT) WHERE id = 5;
        UPDATE messages SET message_id = hex(randomblob(1400)) WHERE id = 6;
        UPDATE messages SET received_at = 'noon' WHERE id = 7;
        UPDATE messages SET text = printf('%.*c', 9000000, 'x') WHERE id = 8;
        UPDATE messages SET message_id = '${longest}' WHERE id = 9`);
      const database = await server.createDatabase();
      const refused = await finish(t, 1, path, urlOf(database));
      assert.equal(refused['event'], 'move_refused');
      const problems = problemsOf(refused);
      assert.match(problems, /SOURCE has 5 messages that TARGET cannot hold; their row ids: 4 \(U\+0000 in a text\), 5 \(bytes that are no UTF-8\), 6 \(too long/);
      assert.match(problems, /7 \(a received_at .*, 8 \(more bytes/);
      assert.equal(await server.sql("SELECT to_regclass('messages') IS NULL", database), 't');

      const source = new DatabaseSync(path);
      source.exec('DELETE FROM messages WHERE id BETWEEN 4 AND 8');
      source.close();
      assert.equal((await finish(t, 0, path, urlOf(database)))['messages'], 25);
    });

    test('more than can be named are counted', async (t) => {
      const path = makeFile(t, `${fill(30)}; UPDATE messages SET text = char(0)`);
      const problems = problemsOf(await finish(t, 1, path, urlOf(await server.createDatabase())));
      assert.match(problems, /SOURCE has 30 messages .* 20 \(U\+0000 in a text\), …\. Correct/);
    });

    test('a target with other messages is left as it is', async (t) => {
      const path = makeFile(t, fill(3));
      const database = await server.createDatabase();
      await finish(t, 0, path, urlOf(database));
      for (const change of ["UPDATE messages SET text = 'other' WHERE id = 2", 'UPDATE messages SET received_at = 1 WHERE id = 2', 'DELETE FROM messages WHERE id = 1']) {
        const other = makeFile(t, `${fill(3)}; ALTER TABLE messages ADD COLUMN received_at INTEGER; ${change}`);
        assert.match(problemsOf(await finish(t, 1, other, urlOf(database))), /TARGET has messages that are not those with which SOURCE begins/);
        const before = hashOf(other);
        assert.match(problemsOf(await finish(t, 1, urlOf(database), other)), /TARGET has messages that are not those/);
        assert.equal(hashOf(other), before);
      }
      assert.match(problemsOf(await finish(t, 1, makeFile(t, fill(2)), urlOf(database))), /TARGET has messages that are not those/);
      assert.equal(await server.sql('SELECT count(*) FROM messages', database), '3');
    });

    test('a file that is served is taken on neither side', async (t) => {
      const path = join(temporaryFolder(t), 'app.db');
      const storage = await openTestStorage(t, path);
      await storage.append(message());
      const database = await server.createDatabase();
      assert.match(problemsOf(await finish(t, 1, path, urlOf(database))), /app\.db is already served by another process; stop that one first/);
      assert.match(problemsOf(await finish(t, 1, urlOf(await server.createDatabase()), path)), /the database has no tables of this service/);
      await finish(t, 0, makeFile(t, ''), urlOf(database));
      assert.match(problemsOf(await finish(t, 1, urlOf(database), path)), /already served/);
    });

    test('a source without messages of this service, or a target of something else', async (t) => {
      const folder = temporaryFolder(t);
      const database = await server.createDatabase();
      const missing = join(folder, 'missing.db');
      assert.match(problemsOf(await finish(t, 1, missing, urlOf(database))), /missing\.db does not exist, or is empty/);
      assert.ok(!existsSync(missing));
      const noDatabase = join(folder, 'text.db');
      writeFileSync(noDatabase, 'no database, whatever its name says');
      assert.match(problemsOf(await finish(t, 1, noDatabase, urlOf(database))), /is not a SQLite database/);
      const newer = makeFile(t, 'PRAGMA application_id = 0x77686962; PRAGMA user_version = 99');
      assert.match(problemsOf(await finish(t, 1, newer, urlOf(database))), /was made by a newer version/);
      const unordered = makeFile(t, "INSERT INTO messages VALUES ('b', '1', '+12', '+13', '', NULL)",
        'CREATE TABLE messages(id TEXT, message_id TEXT UNIQUE NOT NULL, from_number TEXT, to_number TEXT, ts TEXT, text TEXT)');
      assert.match(problemsOf(await finish(t, 1, unordered, urlOf(database))), /whose id is not its row id; start the service once on a copy/);
      await server.sql('CREATE TABLE messages(words text)', database);
      assert.match(problemsOf(await finish(t, 1, makeFile(t, fill(1)), urlOf(database))), /a table messages that is not of this service/);
    });

    test('arguments that cannot be meant', async (t) => {
      const url = urlOf('postgres');
      for (const args of [[], [url], [url, url], ['a.db', 'b.db'], ['a.db', url, 'more']]) {
        assert.match(problemsOf(await finish(t, 1, ...args)), /the arguments are SOURCE and TARGET/);
      }
      assert.match(problemsOf(await finish(t, 1, 'a.db', 'postgresql://@127.0.0.1/name')), /TARGET has no user/);
      assert.match(problemsOf(await finish(t, 1, 'file:a.db?mode=memory', url)), /SOURCE must be the path of a database file/);
    });

    test('a target into which somebody else stores meanwhile', async (t) => {
      const database = await server.createDatabase();
      const target = await openPostgresTarget([{ host: server.socketFolder, port: server.port, tls: null, user: SUPERUSER, database, password: null }]);
      t.after(() => target.close());
      const receipt = (message_id: string) => ({ message: message({ message_id }), received_at: null });
      await target.begin(0);
      await target.takeOver([receipt('a'), receipt('b')]);
      await server.sql('UPDATE inbox SET newest = newest + 1', database);
      await assert.rejects(target.takeOver([receipt('c')]), { name: 'StartRefused', message: /somebody else stores messages/ });
      await assert.rejects(target.begin(1), { name: 'StartRefused', message: /somebody else stores messages/ });
      assert.equal(await server.sql('SELECT messages, senders, newest, (SELECT max(id) FROM messages) FROM inbox', database), '2|1|3|2');
    });
  });

  test('the password comes from the environment, and is shown nowhere', async (t) => {
    const guarded = await startPostgres(t, { password: 'correct horse battery' });
    const path = makeFile(t, fill(1));
    const url = `postgresql://${SUPERUSER}@127.0.0.1:${guarded.port}/${await guarded.createDatabase()}`;
    const wrong = start(t, [path, url], { DATABASE_PASSWORD: 'a wrong one, of course' });
    assert.equal(await wrong.ended, 1);
    assert.doesNotMatch(JSON.stringify(wrong.lines), /a wrong one/);
    const right = start(t, [path, url], { DATABASE_PASSWORD: 'correct horse battery' });
    assert.equal(await right.ended, 0, JSON.stringify(right.lines));
    assert.doesNotMatch(JSON.stringify(right.lines), /horse/);
  });
}
