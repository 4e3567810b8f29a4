/** The text index by itself: texts of any table, none of them of a message. */
import assert from 'node:assert/strict';
import { DatabaseSync } from 'node:sqlite';
import { describe, test, type TestContext } from 'node:test';
import { candidatesOf, isSearchable } from '../../../../../src/storage/sqlite/indexing/text-index/candidates.ts';
import {
  CREATE_TEXT_INDEX, createCountPostings, createForgetNext, createIndexNextPart, createTakeOutTexts,
} from '../../../../../src/storage/sqlite/indexing/text-index/text-index.ts';
import { PART_BITS, SEGMENT_BITS } from '../../../../../src/storage/sqlite/indexing/text-index/trigrams.ts';

const PART = 2 ** PART_BITS;
const SEGMENT = 2 ** SEGMENT_BITS;

/** A database of texts and their index, in memory. */
function openTexts(t: TestContext) {
  const database = new DatabaseSync(':memory:');
  t.after(() => database.close());
  database.exec(`CREATE TABLE lines(id INTEGER PRIMARY KEY, text TEXT); CREATE TABLE gone(id INTEGER PRIMARY KEY); ${CREATE_TEXT_INDEX}`);
  const indexNextPart = createIndexNextPart(database, {
    table: 'lines', completeThrough: '(SELECT max(id) FROM lines)', isGone: 'id IN (SELECT id FROM gone)',
  });
  const forgetNext = createForgetNext(database, { table: 'lines' });
  const takeOut = createTakeOutTexts(database, { table: 'lines' }, 'SELECT id FROM gone');
  const add = database.prepare('INSERT INTO lines VALUES (?, ?)');
  add.setReadBigInts(true);
  const idsWhere = (sql: string, parameters: readonly (number | string)[]) =>
    database.prepare(`SELECT CAST(id AS TEXT) AS id FROM lines WHERE ${sql} ORDER BY id`).all(...parameters).map(({ id }) => String(id));
  return {
    add: (id: number | bigint, text: string | null) => void add.run(id, text),
    addMany(first: number, end: number, textOf: (id: number) => string): void {
      database.exec('BEGIN');
      for (let id = first; id < end; id += 1) add.run(id, textOf(id));
      database.exec('COMMIT');
    },
    /** Takes in all that can be, and returns how many parts those were. */
    index(): number {
      for (let parts = 0; ; parts += 1) if (!indexNextPart()) return parts;
    },
    /** Marks texts as gone, by a condition on `id`, and takes them out of the index. */
    takeOut(condition: string): void {
      database.exec(`INSERT INTO gone SELECT id FROM lines WHERE ${condition}`);
      takeOut();
    },
    /** Gives up what is empty, and returns how many segments and parts those were. */
    forget(): number {
      for (let given = 0; ; given += 1) if (!forgetNext()) return given;
    },
    removeRows: () => database.exec('DELETE FROM lines WHERE id IN (SELECT id FROM gone); DELETE FROM gone'),
    holding: (substring: string) => idsWhere('instr(text, ?) > 0', [substring]),
    candidates: (substring: string) => [...candidatesOf((sql, parameters) => database.prepare(sql).all(...parameters), 'main', substring)]
      .flatMap(({ sql, parameters }) => idsWhere(sql, parameters)),
    count: (table: string) => database.prepare(`SELECT count(*) AS rows FROM ${table}`).get()?.['rows'],
  };
}

describe('the text index', () => {
  test('leads to every text that holds a substring, each once, and to few others, whether in a segment, in a part or not indexed', (t) => {
    const texts = openTexts(t);
    const textOf = (id: number) => `line ${id}${id % 10_000 === 7 ? ' with a needle' : ''}`;
    texts.addMany(0, SEGMENT + 2 * PART + 10, textOf);
    assert.equal(texts.index(), SEGMENT / PART + 2);
    assert.deepEqual(['segments', 'parts'].map(texts.count), [1, 2]);
    for (const substring of ['needle', 'a nee', 'line 9', 'line 33000', 'nowhere at all']) {
      const candidates = texts.candidates(substring);
      const holding = texts.holding(substring);
      assert.deepEqual(holding.filter((id) => !candidates.includes(id)), [], substring);
      assert.equal(new Set(candidates).size, candidates.length, substring);
      assert.ok(candidates.length <= holding.length + 500, `${substring}: ${candidates.length} for ${holding.length}`);
    }
    assert.ok(texts.candidates('line').length === SEGMENT + 2 * PART + 10);
  });

  test('takes a part in once a later text shows that it is full', (t) => {
    const texts = openTexts(t);
    texts.addMany(0, PART, String);
    assert.equal(texts.index(), 0);
    texts.add(PART, 'the next');
    assert.equal(texts.index(), 1);
    assert.equal(texts.index(), 0);
    assert.deepEqual(texts.candidates('the next'), [String(PART)]);
  });

  test('knows ids of any size and gaps between them, and texts that are none', (t) => {
    const texts = openTexts(t);
    const last = 2n ** 63n - 1n;
    texts.add(-(2n ** 63n), 'the least needle');
    texts.add(-5, null);
    texts.add(3 * SEGMENT, 'a needle');
    texts.add(2n ** 53n + 1n, 'an odd needle');
    texts.add(last, 'the last needle');
    texts.index();
    const candidates = texts.candidates('needle');
    assert.deepEqual(candidates.toSorted(), texts.holding('needle').toSorted());
    assert.equal(candidates.length, 4);
  });

  test('tells what it can find nothing of', () => {
    assert.deepEqual(['', 'ab', 'abc', '😀', '😀a'].map(isSearchable), [false, false, true, false, true]);
  });

  test('has no place any more of texts that are taken out, be they in a segment, in a part or not indexed yet, and all others as before', (t) => {
    const texts = openTexts(t);
    const end = SEGMENT + 2 * PART;
    const textOf = (id: number) => `${id % 3 === 0 ? 'needle' : 'line'} ${id % 1000}`;
    const indexed = (id: string) => Number(id) < end + PART;
    texts.addMany(0, end + 10, textOf);
    assert.equal(texts.index(), SEGMENT / PART + 2);
    texts.addMany(end + 10, end + PART + 10, textOf);
    texts.takeOut('id % 3 = 0');
    assert.equal(texts.index(), 1);
    assert.deepEqual(['segments', 'parts'].map(texts.count), [1, 3]);
    assert.equal(texts.candidates('needle').filter((id) => Number(id) < end).length, 0);
    for (const substring of ['line 7', 'ne 88', 'line']) {
      const expected = texts.holding(substring).filter(indexed);
      const candidates = new Set(texts.candidates(substring));
      assert.equal(expected.filter((id) => !candidates.has(id)).length, 0, substring);
    }
    texts.removeRows();
    assert.equal(texts.candidates('needle').filter(indexed).length, 0);
  });

  test('gives up a text that is the only one with its trigrams, and takes no notice of one that was never in it', (t) => {
    const texts = openTexts(t);
    texts.addMany(0, 10, (id) => (id === 3 ? 'needle' : 'line'));
    texts.add(SEGMENT, 'line');
    texts.add(SEGMENT + PART, 'needle');
    texts.index();
    assert.deepEqual(['segments', 'parts', 'trigrams'].map(texts.count), [1, 1, 6]);
    texts.takeOut(`id IN (3, ${SEGMENT + PART})`);
    assert.equal(texts.count('trigrams'), 2);
    assert.deepEqual(texts.candidates('needle'), [String(SEGMENT + PART)]);
  });

  test('is as large as the table: a segment and a part go once no row of theirs is left', (t) => {
    const texts = openTexts(t);
    texts.addMany(0, 2 * SEGMENT + 3 * PART + 1, (id) => `line ${id}`);
    texts.index();
    assert.deepEqual(['segments', 'parts'].map(texts.count), [2, 3]);
    texts.takeOut(`id < ${SEGMENT} OR id >= ${2 * SEGMENT} AND id < ${2 * SEGMENT + PART} OR id = ${SEGMENT + 3}`);
    assert.equal(texts.forget(), 0);
    texts.removeRows();
    assert.equal(texts.forget(), 2);
    assert.deepEqual(['segments', 'parts'].map(texts.count), [1, 2]);
    assert.deepEqual(texts.holding('line 40000').filter((id) => !texts.candidates('line 40000').includes(id)), []);
    assert.ok(Number(texts.count('trigrams')) > 0);
    texts.takeOut('true');
    texts.removeRows();
    assert.equal(texts.forget(), 3);
    assert.deepEqual(['segments', 'trigrams', 'parts', 'pieces'].map(texts.count), [0, 0, 0, 0]);
  });

  test('tells how much would be written anew: of a segment no more than all of it', () => {
    const count = createCountPostings();
    assert.deepEqual([count(1n, 100), count(2n, 50), count(BigInt(SEGMENT), 7)], [100, 150, 157]);
    for (let id = 3n; id < 1000n; id += 1n) count(id, 1000);
    assert.equal(count(-1n, 5), 2 ** 14 + 7 + 5);
  });
});
