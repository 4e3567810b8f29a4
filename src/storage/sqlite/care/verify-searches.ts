/** Searches by the text index, against what a walk over all texts finds: of some substrings that are there, chosen by chance. */
import { randomInt } from 'node:crypto';
import type { DatabaseSync } from 'node:sqlite';
import { resultCode } from '../failures.ts';
import { IN_ANY_WAY, isVisible } from '../file/hidden.ts';
import { candidatesOf, isSearchable } from '../indexing/text-index/candidates.ts';
import { MATCHES } from '../reading/search.ts';
import type { Checking } from './verify-messages.ts';

const SAMPLES = 8;
const SHORTEST_CHARACTERS = 3;
const LONGEST_CHARACTERS = 8;
/** Messages among which one with a text is looked for. */
const LOOKED_AT = 1000;

/** Substrings of messages anywhere in the order of storing; fewer where there are few with a text. */
export function chooseSamples(database: DatabaseSync): string[] {
  const ends = database.prepare('SELECT CAST(min(id) AS TEXT) AS first, CAST(max(id) AS TEXT) AS last FROM messages').get();
  if (typeof ends?.['first'] !== 'string' || typeof ends['last'] !== 'string') return [];
  const [first, last] = [BigInt(ends['first']), BigInt(ends['last'])];
  const near = database.prepare(`
    SELECT text FROM (SELECT text FROM messages WHERE id >= CAST(? AS INTEGER) ORDER BY id LIMIT ${LOOKED_AT})
    WHERE length(text) >= ${SHORTEST_CHARACTERS} LIMIT 1`);
  const samples = Array.from({ length: SAMPLES }, () => {
    const id = first + ((last - first) * BigInt(randomInt(1_000_000))) / 1_000_000n;
    return substringOf(String(near.get(String(id))?.['text'] ?? ''));
  });
  return [...new Set(samples.filter(isSearchable))];
}

function substringOf(text: string): string {
  const characters = [...text];
  if (characters.length < SHORTEST_CHARACTERS) return '';
  const length = Math.min(characters.length, randomInt(SHORTEST_CHARACTERS, LONGEST_CHARACTERS + 1));
  const begin = randomInt(characters.length - length + 1);
  return characters.slice(begin, begin + length).join('');
}

/** `expected`: of each sample, how many messages hold it. */
export function verifySearches({ database, say }: Checking, samples: readonly string[], expected: readonly number[]): void {
  const all = (sql: string, parameters: readonly (number | string)[]) => database.prepare(sql).all(...parameters);
  const count = (sample: string): number => {
    let found = 0;
    for (const { sql, parameters } of candidatesOf(all, 'read_index', sample)) {
      const candidates = database.prepare(`
        SELECT count(*) AS found FROM main.messages NOT INDEXED
        WHERE ${sql} AND ${MATCHES} AND ${isVisible('messages.id', IN_ANY_WAY)}`);
      found += Number(candidates.get(...parameters, sample)?.['found']);
    }
    return found;
  };
  samples.forEach((sample, number) => {
    try {
      const found = count(sample);
      if (found !== expected[number]) say(`the read index: a search finds ${found} messages where ${expected[number]} match`);
    } catch (error) {
      if (resultCode(error) !== undefined) throw error;
      say('the read index: what it has for a search cannot be read');
    }
  });
}
