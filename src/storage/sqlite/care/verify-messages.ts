/** The messages themselves: their pages, their number, their order. */
import type { DatabaseSync } from 'node:sqlite';
import type { TellProgress } from '../../care/options.ts';
import { SELECT_NEWEST } from '../file/generations.ts';
import { IN_ANY_WAY, isExpiredRow, isVisible } from '../file/hidden.ts';
import { MATCHES } from '../reading/search.ts';
import { readPragma } from '../file/upgrade/usable.ts';
import { BEFORE_ALL_IDS } from '../row-ids.ts';

/**
 * SQL that is true of a hidden message that is no longer in the index, while its row is still there (`file/hidden.ts`); on `messages`, with
 * the index attached as `read_index`.
 */
export const IS_TAKEN_OUT = `(
  messages.id IN (SELECT id FROM hidden WHERE number <= (SELECT erased_out_through FROM read_index.progress))
  OR (messages.id <= (SELECT expired_out_through FROM read_index.progress) AND ${isExpiredRow('main', String(BEFORE_ALL_IDS))}))`;

/** Rows looked at in one statement. */
const STEP_ROWS = 50_000;
/** Of a damaged file there would be many. */
const MOST_FAULTS = 20;

export interface Checking {
  /** The messages, and their index as `read_index`: one moment of both. */
  readonly database: DatabaseSync;
  readonly tell: TellProgress;
  readonly say: (problem: string) => void;
}

/** Each page, each index of a table against it, each UNIQUE and NOT NULL (https://sqlite.org/pragma.html#pragma_integrity_check). */
export function verifyPages({ database, tell, say }: Checking, schema: 'main' | 'read_index', file: string, bytes: number): void {
  tell(`pages of ${file}`, { unit: 'bytes', done: 0, of: bytes });
  if (bytes % Number(readPragma(database, 'page_size')) !== 0) say(`${file}: it ends in the middle of a page, as it was cut off`);
  for (const row of database.prepare(`PRAGMA ${schema}.integrity_check(${MOST_FAULTS})`).all()) {
    const said = String(row['integrity_check']);
    for (const line of said === 'ok' ? [] : said.split('\n')) say(`${file}: ${line}`);
  }
}

export interface Walked {
  /** Those that are not hidden. */
  readonly messages: number;
  /** How many of them should be in the index. */
  readonly indexed: number;
  /** Of each sample, how many messages hold it. */
  readonly matches: readonly number[];
}

/**
 * Looks at every message, some ten thousand at a time, in the order of storing. `through`: the last that is in the index; undefined where
 * there is none.
 */
export function verifyMessages({ database, tell, say }: Checking, through: string | undefined, samples: readonly string[]): Walked {
  // `sort_key` is defined wherever a file was found to be usable.
  const step = database.prepare(`
    SELECT total(is_visible) AS messages, CAST(max(id) AS TEXT) AS last, total(is_in_index AND id <= CAST(? AS INTEGER)) AS indexed,
      total(instant IS NOT sort_key(ts)) AS misplaced
      ${samples.map((_, number) => `, total(is_visible AND ${MATCHES}) AS sample${number}`).join('')}
    FROM (
      SELECT id, ts, instant, text, ${isVisible('messages.id', IN_ANY_WAY)} AS is_visible,
        ${through === undefined ? '0' : `NOT ${IS_TAKEN_OUT}`} AS is_in_index
      FROM messages NOT INDEXED WHERE id > CAST(? AS INTEGER) ORDER BY id LIMIT ${STEP_ROWS}
    )`);
  const { counted, of } = database.prepare('SELECT messages AS counted, ifnull(messages, 0) AS of FROM inbox').get() ?? {};
  let [messages, indexed, misplaced, last] = [0, 0, 0, String(BEFORE_ALL_IDS)];
  const matches = samples.map(() => 0);
  for (;;) {
    const row = step.get(through ?? last, ...samples, last);
    if (typeof row?.['last'] !== 'string') break;
    if (BigInt(row['last']) <= BigInt(last)) {
      say(`the database: sequence ${row['last']} comes after ${last}, so not all messages could be looked at`);
      break;
    }
    last = row['last'];
    messages += Number(row['messages']);
    indexed += Number(row['indexed']);
    misplaced += Number(row['misplaced']);
    samples.forEach((_, number) => { matches[number] = (matches[number] ?? 0) + Number(row[`sample${number}`]); });
    tell('messages', { unit: 'messages', done: messages, of: Number(of) });
  }
  // Null where another program has added some while they are served: until the next start they are counted each time.
  if (counted !== null && counted !== messages) say(`the database: it counts ${String(counted)} messages and has ${messages}`);
  if (misplaced > 0) say(`the database: ${misplaced} messages do not have the place in the order that their ts gives them`);
  const newest = String(database.prepare(SELECT_NEWEST).get()?.['sequence']);
  if (messages > 0 && BigInt(newest) < BigInt(last)) say(`the database: sequence ${last} is in use, and ${newest} counts as the newest`);
  return { messages, indexed, matches };
}
