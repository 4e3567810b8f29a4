/**
 * The text index as SQLite's FTS5 (https://sqlite.org/fts5.html) would be it: the trigram tokenizer, without the texts themselves, filled
 * in chunks by ascending id. What it exports is what the text index of the service does. Its settings are the query of this module's
 * address: `detail`, and `bits`: a chunk is the texts with the same id but for so many of the lowest bits.
 */
import type { DatabaseSync } from 'node:sqlite';
import type { Candidates } from '../../../src/storage/sqlite/indexing/text-index/candidates.ts';
import type { TextSource } from '../../../src/storage/sqlite/indexing/text-index/text-index.ts';

const settings = new URL(import.meta.url).searchParams;
const detail = settings.get('detail') === 'full' ? 'full' : 'none';
const bits = Number(settings.get('bits'));

/** Of a chunk that is not written yet: with the default of 1 MiB it would be written in many pieces. */
const CHUNK_BYTES = 256 * 1024 * 1024;
/** Candidates that are looked at in one step: as many as the service's own has of a segment. */
const STEP_CANDIDATES = 32_768;
/** Where so many of those in a row can match, reading all is faster than one by one. */
const DENSE_SHARE = 1 / 4;
/** As in the service's own: to look at a few more texts costs less than to look up a few more trigrams. */
const MAX_LOOKED_UP = 4;

export const CREATE_TEXT_INDEX = `
  CREATE TABLE searchable(only_row INTEGER PRIMARY KEY CHECK (only_row = 1), below INTEGER NOT NULL);
  INSERT INTO searchable VALUES (1, -9223372036854775808);
  CREATE VIRTUAL TABLE texts USING fts5(text, content='', columnsize=0, detail=${detail}, tokenize='trigram');
  INSERT INTO texts(texts, rank) VALUES ('automerge', 0), ('hashsize', ${CHUNK_BYTES});`;

export function createIndexNextPart(database: DatabaseSync, { table, completeThrough }: TextSource): () => boolean {
  const next = database.prepare(`
    SELECT min(id) >> ${bits} AS part, ${completeThrough} >> ${bits} AS newest
    FROM ${table} WHERE id >= (SELECT below FROM searchable)`);
  const add = database.prepare(`
    INSERT INTO texts(rowid, text) SELECT id, text FROM ${table}
    WHERE id >= ? << ${bits} AND id < (? + 1) << ${bits} AND text IS NOT NULL ORDER BY id`);
  const advance = database.prepare(`UPDATE searchable SET below = (? + 1) << ${bits}`);
  return () => {
    const { part, newest } = next.get() ?? {};
    if (typeof part !== 'number' || part >= Number(newest)) return false;
    add.run(part, part);
    advance.run(part);
    return true;
  };
}

export const isSearchable = (substring: string): boolean => [...substring].length >= 3;

/** With the places of trigrams in their texts, these can be asked to follow one another; without, only to be there. */
function matchOf(substring: string): string {
  const quote = (text: string) => `"${text.replaceAll('"', '""')}"`;
  if (detail === 'full') return quote(substring);
  const characters = [...substring];
  const all = [...new Set(characters.slice(2).map((last, at) => `${characters[at]}${characters[at + 1]}${last}`))];
  const step = Math.max(1, all.length / MAX_LOOKED_UP);
  const some = all.filter((_, at) => Math.floor(at / step) !== Math.floor((at - 1) / step));
  return some.map(quote).join(' AND ');
}

type All = (sql: string, parameters: readonly (number | string)[]) => readonly Readonly<Record<string, unknown>>[];

export function* candidatesOf(all: All, schema: string, substring: string): Iterable<Candidates> {
  const match = matchOf(substring);
  // FTS5 goes to a row id that is an integer, and past all before one that is a real number, which is what JavaScript has.
  for (let after = 0, found = STEP_CANDIDATES; found === STEP_CANDIDATES;) {
    const [step] = all(`
      SELECT count(*) AS found, min(id) AS first, max(id) AS last, json_group_array(id) AS ids FROM (
        SELECT rowid AS id FROM ${schema}.texts WHERE texts MATCH ? AND rowid > CAST(? AS INTEGER) ORDER BY rowid LIMIT ${STEP_CANDIDATES}
      )`, [match, after]);
    const [first, last] = [Number(step?.['first']), Number(step?.['last'])];
    found = Number(step?.['found']);
    after = last;
    if (found > (last - first + 1) * DENSE_SHARE) yield { sql: 'id BETWEEN ? AND ?', parameters: [first, last] };
    else if (found > 0) yield { sql: 'id IN (SELECT value FROM json_each(?))', parameters: [String(step?.['ids'])] };
  }
  yield { sql: `id >= (SELECT below FROM ${schema}.searchable)`, parameters: [] };
}
