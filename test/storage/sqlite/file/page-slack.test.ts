/** Copies of cells that SQLite leaves in parts of pages that it does not use. */
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, test } from 'node:test';
import { createPageSlack } from '../../../../src/storage/sqlite/file/page-slack.ts';
import { temporaryFolder, type Scope } from '../../../support/temporary.ts';

const LONG_ENOUGH_MS = 60_000;
const ROWS = 4000;
const MOST_ROWS = 400_000;
const isGone = (index: number) => index % 40 !== 0;
const word = (index: number) => `${isGone(index) ? 'gone' : 'kept'}-${index}-${'x'.repeat(20)}`;

/** A table whose index is filled in random order, and emptied, until something is left of what was deleted where pages were merged. */
function openUsed(scope: Scope, pragmas = '') {
  const path = join(temporaryFolder(scope), 'app.db');
  const database = new DatabaseSync(path);
  scope.after(() => database.close());
  database.exec(`${pragmas}; PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA wal_autocheckpoint = 0; PRAGMA secure_delete = ON;
    CREATE TABLE words(id INTEGER PRIMARY KEY, word TEXT UNIQUE)`);
  const insert = database.prepare('INSERT INTO words VALUES (?, ?)');
  const remove = database.prepare('DELETE FROM words WHERE id = ?');
  const each = (from: number, work: (index: number) => void) => {
    database.exec('BEGIN');
    for (let index = from; index < from + ROWS; index += 1) work(index);
    database.exec('COMMIT');
  };
  const insertSome = (from: number) => each(from, (index) => insert.run(index, `${hash('sha256', String(index))} ${word(index)}`));
  const empty = () => database.exec('PRAGMA wal_checkpoint(TRUNCATE)');
  const holds = (text: string) => readFileSync(path).includes(text);
  let rows = 0;
  do {
    insertSome(rows);
    each(rows, (index) => isGone(index) && remove.run(index));
    rows += ROWS;
    empty();
  } while (!holds('gone') && rows < MOST_ROWS);
  return { path, database, insertSome: () => insertSome(rows), empty, holds };
}

const PAGE_SIZES = ['', 'PRAGMA page_size = 512', 'PRAGMA page_size = 65536'];

for (const pragmas of PAGE_SIZES) {
  test(`they are overwritten, and nothing else is (${pragmas || 'as SQLite makes a file'})`, (t) => {
    const { path, database, empty, holds } = openUsed(t, pragmas);
    const rows = database.prepare('SELECT * FROM words').all();
    assert.ok(holds('gone'));
    let writes = 0;
    const slack = createPageSlack(database, path, () => { writes += 1; });
    assert.equal(slack.clean(LONG_ENOUGH_MS), true);
    assert.deepEqual([holds('gone'), holds('kept'), writes], [false, true, 1]);
    assert.equal(database.prepare('PRAGMA integrity_check').get()?.['integrity_check'], 'ok');
    assert.deepEqual(database.prepare('SELECT * FROM words').all(), rows);
    slack.restart();
    assert.equal(slack.clean(LONG_ENOUGH_MS), true);
    assert.equal(writes, 1, 'nothing is left to overwrite');
    empty();
  });
}

test('they do not come back when the pages change, which the connection has in memory as they were', (t) => {
  const { path, database, insertSome, empty, holds } = openUsed(t);
  database.prepare('SELECT count(*) FROM words INDEXED BY sqlite_autoindex_words_1').get();
  createPageSlack(database, path, () => {}).clean(LONG_ENOUGH_MS);
  database.exec("UPDATE words SET word = 'z' || word WHERE id % 7 = 0");
  empty();
  assert.equal(holds('gone'), false);
  insertSome();
  assert.equal(database.prepare('PRAGMA integrity_check').get()?.['integrity_check'], 'ok');
});

test('it goes on where it was', (t) => {
  const { path, database, holds } = openUsed(t, 'PRAGMA page_size = 512');
  const slack = createPageSlack(database, path, () => {});
  assert.equal(slack.clean(0), false);
  assert.ok(holds('gone'));
  assert.equal(slack.clean(LONG_ENOUGH_MS), true);
  assert.equal(holds('gone'), false);
});

describe('nothing is overwritten', () => {
  test('while the log has newer pages', (t) => {
    const { path, database } = openUsed(t);
    const before = readFileSync(path);
    database.exec('DELETE FROM words WHERE id = 0');
    assert.equal(createPageSlack(database, path, assert.fail).clean(LONG_ENOUGH_MS), false);
    assert.deepEqual(readFileSync(path), before);
  });

  test('while another connection writes, which is said', (t) => {
    const { path, database } = openUsed(t);
    const other = new DatabaseSync(path);
    t.after(() => other.close());
    other.exec('BEGIN IMMEDIATE');
    assert.throws(() => createPageSlack(database, path, assert.fail).clean(LONG_ENOUGH_MS), /database is locked/);
  });

  test('in a file of which not every page says of what kind it is', (t) => {
    const { path, database } = openUsed(t, 'PRAGMA auto_vacuum = INCREMENTAL');
    const before = readFileSync(path);
    assert.equal(createPageSlack(database, path, assert.fail).clean(LONG_ENOUGH_MS), true);
    assert.deepEqual(readFileSync(path), before);
  });
});
