/** `verify.js`: says in words what is wrong with a database or its read index, and nothing where nothing is. */
import assert from 'node:assert/strict';
import { copyFileSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, describe, test, type TestContext } from 'node:test';
import { createAppend } from '../../../../src/storage/sqlite/file/append.ts';
import { createRemembered } from '../../../../src/storage/sqlite/file/remembered.ts';
import { openForWriting } from '../../../../src/storage/sqlite/file/open.ts';
import { SCHEMA_VERSION } from '../../../../src/storage/sqlite/file/upgrade/own-objects.ts';
import { createIndexWriter } from '../../../../src/storage/sqlite/indexing/index-writer.ts';
import { NOTE_GENERATION, openIndexForWriting } from '../../../../src/storage/sqlite/indexing/schema.ts';
import { verify } from '../../../../src/storage/sqlite/care/verify.ts';
import { runCommand, startCommand } from '../../../support/command.ts';
import { EARLIER_SCHEMAS } from '../../../support/earlier-schemas.ts';
import { startClosedLoop } from '../../../support/load.ts';
import { message } from '../../../support/messages.ts';
import { REFERENCE_SCHEMA } from '../../../support/reference-schema.ts';
import { hide } from '../../../support/hide.ts';
import { startServerProcess } from '../../../support/server-process.ts';
import { openTestStorage } from '../../../support/storage.ts';
import { temporaryFolder } from '../../../support/temporary.ts';
import { waitFor } from '../../../support/wait.ts';

/** Several partitions of the order, and of the text index parts and a segment. */
const MESSAGES = 70_000;
const UNINDEXED = 100;

const original = makeDatabase(join(temporaryFolder({ after }), 'app.db'));

function makeDatabase(path: string): string {
  const { database } = openForWriting(path, () => {}, () => false);
  const append = createAppend(database, createRemembered(database));
  const store = (first: number, count: number) => {
    database.exec('BEGIN');
    append({
      received_at: 1_700_000_000_000 + first * 1000,
      messages: Array.from({ length: count }, (_, number) => message({
        message_id: `m${first + number}`, from: `+1${(first + number) % 37}`, text: (first + number) % 5 === 0 ? null : `Text number ${first + number}`,
        ts: new Date(1_700_000_000_000 + ((first + number) * 7919 % MESSAGES) * 1000).toISOString(),
      })),
    });
    database.exec('COMMIT');
  };
  for (let first = 0; first < MESSAGES; first += 10_000) store(first, 10_000);
  const index = openIndexForWriting(path);
  index.exec(NOTE_GENERATION);
  const writer = createIndexWriter(index);
  while (writer.takeIn() > 0) while (writer.indexNextPart());
  index.close();
  store(MESSAGES, UNINDEXED);
  database.close();
  return path;
}

function copyOf(t: TestContext): string {
  const path = join(temporaryFolder(t), 'app.db');
  for (const suffix of ['', '-index']) copyFileSync(original + suffix, path + suffix);
  return path;
}

function change(path: string, sql: string): void {
  const database = new DatabaseSync(path);
  database.exec(sql);
  database.close();
}

function rootPageOf(path: string, name: string): number {
  const database = new DatabaseSync(path);
  const page = Number(database.prepare('SELECT rootpage FROM sqlite_schema WHERE name = ?').get(name)?.['rootpage']);
  database.close();
  return page;
}

/** All cells of the last page of messages, which stand behind the pointers to them (https://sqlite.org/fileformat2.html#b_tree_pages). */
function zeroLastMessages(path: string): void {
  const database = new DatabaseSync(path);
  const { page } = database.prepare("SELECT max(pageno) AS page FROM dbstat WHERE name = 'messages' AND pagetype = 'leaf'").get() ?? {};
  database.close();
  const bytes = readFileSync(path);
  const begin = (Number(page) - 1) * 4096;
  bytes.fill(0, begin + 8 + 2 * bytes.readUInt16BE(begin + 3), begin + 4096);
  writeFileSync(path, bytes);
}

/** Opens the storage until no row is left of what is hidden. */
async function removeHidden(t: TestContext, path: string): Promise<void> {
  const storage = await openTestStorage(t, path);
  const database = new DatabaseSync(path, { readOnly: true });
  const left = database.prepare('SELECT (SELECT count(*) FROM messages) - messages AS rows FROM inbox');
  await waitFor('the removal', () => left.get()?.['rows'] === 0);
  database.close();
  await storage.close();
}

async function problemsOf(path: string): Promise<string[]> {
  const said: string[] = [];
  const { problems } = await verify(path, { tell: () => {}, say: (problem) => said.push(problem) });
  assert.equal(problems, said.length);
  return said;
}

describe('nothing is wrong', () => {
  test('with a database and its read index, which may be behind', async () => {
    const said: string[] = [];
    const steps = new Set<string>();
    const found = await verify(original, { tell: (step) => steps.add(step), say: (problem) => said.push(problem) });
    assert.deepEqual(said, []);
    assert.deepEqual(found, { file: original, schema: SCHEMA_VERSION, messages: MESSAGES + UNINDEXED, indexed: MESSAGES, problems: 0 });
    assert.deepEqual([...steps], ['pages of the database', 'messages', 'pages of the read index', 'orders', 'counts by sender', 'counts by minute', 'searches']);
  });

  test('with a backup, which has no read index, named by FILE', async (t) => {
    const target = join(temporaryFolder(t), 'copy.db');
    assert.equal((await runCommand(t, 'backup', original, [target])).status, 0);
    const { status, last } = await runCommand(t, 'verify', '/absent/app.db', [target]);
    assert.deepEqual([status, last['event'], last['messages'], last['indexed']], [0, 'verified', MESSAGES + UNINDEXED, null]);
  });

  test('with files of the reference program and of earlier versions', async (t) => {
    for (const schema of [`${REFERENCE_SCHEMA}; INSERT INTO messages VALUES (1, 'a', '', '', '', NULL)`, EARLIER_SCHEMAS[1], EARLIER_SCHEMAS[2]]) {
      const path = join(temporaryFolder(t), 'app.db');
      change(path, schema);
      assert.deepEqual(await problemsOf(path), []);
    }
  });

  test('with messages that are erased or expired, before and after each step of their removal', async (t) => {
    const path = copyOf(t);
    hide(path, { which: { from: '+13' }, expiredBefore: 1_700_000_000_000 + 10_000 * 1000 + 1 });
    assert.deepEqual(await problemsOf(path), []);
    const index = openIndexForWriting(path);
    const writer = createIndexWriter(index);
    writer.takeOut();
    assert.deepEqual(await problemsOf(path), []);
    while (writer.takeOut());
    index.close();
    assert.deepEqual(await problemsOf(path), []);
    await removeHidden(t, path);
    assert.deepEqual(await problemsOf(path), []);
  });

  test('while a server stores messages', async (t) => {
    const path = copyOf(t);
    const server = startServerProcess(t, { env: { DATABASE_URL: path } });
    let count = 0;
    const load = startClosedLoop(t, Number(new URL(await server.url()).port), 4, () => `live${count += 1}`);
    await waitFor('messages', () => load.sent.length > 100);
    const { status, last } = await runCommand(t, 'verify', path, []);
    assert.equal(status, 0, JSON.stringify(last));
    assert.ok(Number(last['messages']) > MESSAGES + UNINDEXED);
    await load.stop();
    assert.ok(load.sent.every((sent) => sent.status === 200));
  });
});

describe('it is said what is wrong', () => {
  const OF_INDEX: Record<string, [string, ...RegExp[]]> = {
    'a count of a sender': ["UPDATE senders SET messages = messages + 1 WHERE from_number = '+13'", /counts of 1 senders are wrong/, /with the most messages are not/],
    'a sender too many': ["INSERT INTO senders VALUES ('+999', 0)", /counts of 38 senders, and there are 37/],
    'a sender missing': ["DELETE FROM senders WHERE from_number = '+136'", /counts of 1 senders are wrong/, /counts of 36 senders, and there are 37/,
      /with the most messages are not/],
    'the number of senders': ['UPDATE progress SET senders = 5', /it counts 5 senders, and there are 37/],
    'the ten with the most': ["UPDATE top_senders SET from_number = '+11111' WHERE from_number = '+10'", /with the most messages are not/],
    'a count of a minute': ['UPDATE arrivals SET messages = messages - 1 WHERE minute = (SELECT min(minute) FROM arrivals)', /counts of 1 minutes are wrong/],
    'a minute too many': ['INSERT INTO arrivals VALUES (1, 1)', /counts of 8 minutes, and messages came in 7/],
    'an entry missing': ["DELETE FROM by_sender WHERE message_id = 'm5'", /partition \d+ of \d+ counts \d+ messages, and has \d+/, /it has 69999 messages by sender, of 70000/,
      /counts of 1 senders are wrong/],
    'an entry elsewhere in the order': ["UPDATE by_sender SET instant = '2023-11-14T22:13:20.5' WHERE message_id = 'm5'", /1 entries by sender are not what their messages are/],
    'an entry in another partition': ["UPDATE by_sender SET partition = (SELECT max(partition) FROM partitions) WHERE message_id = 'm0'",
      /partition \d+ of \d+ counts/, /partition \d+ of \d+ counts/, /1 entries by sender are in a partition that they do not belong to/],
    'an entry in no partition': ["UPDATE by_sender SET partition = 77 WHERE message_id = 'm0'", /partition 1 of \d+ counts/, /1 entries by sender are in no partition/],
    'a count of a partition': ['UPDATE partitions SET messages = messages + 1 WHERE partition = 0', /partition 1 of \d+ counts \d+ messages, and has \d+/],
    'how many are in it': ['UPDATE progress SET messages = messages + 2', /it counts 70002 messages, of 70000/],
    'a search': ['DELETE FROM trigrams; DELETE FROM pieces', /a search finds \d+ messages where \d+ match/],
    'a search that fails': ["UPDATE trigrams SET places = x''; UPDATE pieces SET places = x''", /what it has for a search cannot be read/],
    'its version': ['PRAGMA user_version = 1', /of another version, or of other messages; the next start makes it anew/],
    'whose it is': ["UPDATE progress SET generation = 'unknown'", /of another version, or of other messages/],
  };
  for (const [what, [sql, ...expected]] of Object.entries(OF_INDEX)) {
    test(`in the read index: ${what}`, async (t) => {
      const path = copyOf(t);
      change(`${path}-index`, sql);
      const said = await problemsOf(path);
      for (const problem of said) assert.match(problem, /^the read index: /);
      // Most searches meet it, though not each.
      if (what.startsWith('a search')) return assert.match(said[0] ?? '', expected[0] ?? /^$/);
      assert.equal(said.length, expected.length, said.join('\n'));
      expected.forEach((pattern, number) => assert.match(said[number] ?? '', pattern));
    });
  }

  const OF_MESSAGES: Record<string, [string, RegExp]> = {
    'how many there are': ['UPDATE inbox SET messages = messages - 3', /^the database: it counts 70097 messages and has 70100$/],
    'a place in the order': ["UPDATE messages SET instant = '2020-01-01T00:00:00' WHERE message_id = 'm70001'",
      /^the database: 1 messages do not have the place in the order that their ts gives them$/],
    'the newest sequence': ["UPDATE sqlite_sequence SET seq = 5 WHERE name = 'messages'", /^the database: sequence 70100 is in use, and 5 counts as the newest$/],
    'an index of its table': ['DROP INDEX messages_by_instant', /^the database: messages_by_instant is missing or defined otherwise; the next start makes it anew$/],
  };
  for (const [what, [sql, expected]] of Object.entries(OF_MESSAGES)) {
    test(`in the database: ${what}`, async (t) => {
      const path = copyOf(t);
      change(path, sql);
      const said = await problemsOf(path);
      assert.ok(said.some((problem) => expected.test(problem)), said.join('\n'));
    });
  }

  for (const suffix of ['', '-index']) {
    test(`where a page of ${suffix === '' ? 'the database' : 'the read index'} is damaged, line by line, and with status 1`, async (t) => {
      const path = copyOf(t);
      const bytes = readFileSync(path + suffix);
      const page = rootPageOf(path + suffix, suffix === '' ? 'messages_by_instant' : 'by_sender');
      bytes.fill(0xff, (page - 1) * 4096, page * 4096);
      writeFileSync(path + suffix, bytes);
      const { lines, ended } = startCommand(t, 'verify', path, []);
      const { status, last } = await ended;
      assert.equal(status, 1);
      const problems = lines.filter(({ event }) => event === 'problem').map(({ problem }) => String(problem));
      assert.deepEqual([last['event'], last['problems']], ['verification_failed', problems.length]);
      assert.ok(problems.some((problem) => problem.startsWith(suffix === '' ? 'the database: ' : 'the read index: ')), problems.join('\n'));
      for (const line of lines) assert.doesNotMatch(JSON.stringify(line), /Text number|"\+1|m\d{3}/);
    });
  }

  const DAMAGED: Record<string, [(path: string) => void, RegExp]> = {
    'that is cut off by one byte': [
      (path) => truncateSync(path, statSync(path).size - 1), /^the database: it ends in the middle of a page, as it was cut off$/m,
    ],
    'with zeros in the place of messages, which has their order begin again': [zeroLastMessages, /^the database: sequence .* comes after/m],
  };
  for (const [what, [strike, problem]] of Object.entries(DAMAGED)) {
    test(`in a database ${what}`, async (t) => {
      const path = join(temporaryFolder(t), 'app.db');
      const storage = await openTestStorage(t, path);
      for (let index = 0; index < 200; index += 1) await storage.append(message({ message_id: `m${index}`, text: 'x'.repeat(100) }));
      await storage.close();
      strike(path);
      const said: string[] = [];
      await verify(path, { tell() {}, say: (line) => said.push(line) });
      assert.match(said.join('\n'), problem);
    });
  }

  test('of a read index that is none', async (t) => {
    const path = copyOf(t);
    writeFileSync(`${path}-index`, 'no database '.repeat(1000));
    assert.deepEqual(await problemsOf(path), ['the read index: the database is damaged, so not all of it could be looked at']);
  });
});

test('what cannot be looked at is refused', async (t) => {
  const folder = temporaryFolder(t);
  writeFileSync(join(folder, 'text.db'), 'no database '.repeat(1000));
  change(join(folder, 'other.db'), 'CREATE TABLE something(x)');
  const cases: [string, string[], RegExp][] = [
    [join(folder, 'absent.db'), [], /absent\.db does not exist, or is empty/], [original, [join(folder, 'text.db')], /text\.db is not a SQLite database/],
    [original, [join(folder, 'other.db')], /is a database of something else/], [original, [original, original], /^the argument is none, or FILE/],
    [original, [''], /^the argument is none/], ['postgresql://me@127.0.0.1/inbox', [], /names a PostgreSQL, whose own tools do this: pg_amcheck/],
  ];
  for (const [url, args, problem] of cases) {
    const { status, last } = await runCommand(t, 'verify', url, args);
    assert.deepEqual([status, last['event']], [1, 'verification_refused'], args.join(' '));
    assert.match(String(last['problems']), problem);
  }
});
