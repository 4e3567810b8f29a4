/** The text index by itself: texts of any table, none of them of a message. */
import assert from 'node:assert/strict';
import { DatabaseSync } from 'node:sqlite';
import { describe, test, type TestContext } from 'node:test';
import { candidatesOf, isSearchable } from '../../../../../src/storage/sqlite/indexing/text-index/candidates.ts';
import { CREATE_TEXT_INDEX, createIndexNextPart } from '../../../../../src/storage/sqlite/indexing/text-index/text-index.ts';
import { PART_BITS, SEGMENT_BITS } from '../../../../../src/storage/sqlite/indexing/text-index/trigrams.ts';

const PART = 2 ** PART_BITS;
const SEGMENT = 2 ** SEGMENT_BITS;

/** A database of texts and their index, in memory. */
function openTexts(t: TestContext) {
  const database = new DatabaseSync(':memory:');
  t.after(() => database.close());
  database.exec(`CREATE TABLE lines(id INTEGER PRIMARY KEY, text TEXT); ${CREATE_TEXT_INDEX}`);
  const indexNextPart = createIndexNextPart(database, { table: 'lines', completeThrough: '(SELECT max(id) FROM lines)' });
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
});
