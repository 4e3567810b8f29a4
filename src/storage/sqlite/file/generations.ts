/**
 * Whether a sequence that was once handed out still means the same message. Each start of the service is a generation with a random name
 * of its own, and notes the newest sequence that it has found. What was handed out in an earlier generation holds up to where the next
 * one began; after a restore that is before whatever the backup did not have, and the generations that came after the backup are unknown.
 */
import { randomBytes } from 'node:crypto';
import type { DatabaseSync } from 'node:sqlite';
import type { Sequence } from '../../storage.ts';
import { LAST_ID } from '../row-ids.ts';

/** Below the row id of the first message of an empty table. */
const BEFORE_THE_FIRST = '0';

/** SQL: the highest row id that was ever given out, also where its row is gone: sqlite_sequence (https://sqlite.org/autoinc.html). */
const newestIn = (schema: string) => `ifnull((SELECT seq FROM ${schema}.sqlite_sequence WHERE name = 'messages'), ${BEFORE_THE_FIRST})`;

/** Selects whether a generation and a sequence hold (`holds`); no row where the generation is unknown. `schema`: that of the messages. */
export const holdsIn = (schema: string) => `
  SELECT CAST(? AS INTEGER) <= ifnull(
    (SELECT begins_after FROM ${schema}.generations AS next WHERE next.number > own.number ORDER BY next.number LIMIT 1),
    ${newestIn(schema)}
  ) AS holds
  FROM ${schema}.generations AS own WHERE generation = ?`;

/** As text, as it may be larger than a JavaScript number is exact. */
export const SELECT_NEWEST = `SELECT CAST(${newestIn('main')} AS TEXT) AS sequence`;

/** Whether no further message can be stored, as the last row id was given out; SQLite reports a full disk then. Throws SQLite's errors. */
export function isLastIdGivenOut(database: DatabaseSync): boolean {
  return database.prepare(SELECT_NEWEST).get()?.['sequence'] === String(LAST_ID);
}

/** Begins a generation, to be done once at each start, before anything is stored, and returns its name. Throws SQLite's errors. */
export function beginGeneration(database: DatabaseSync): string {
  const name = randomBytes(8).toString('hex');
  database.prepare(`INSERT INTO generations(generation, begins_after) SELECT ?, ${newestIn('main')}`).run(name);
  return name;
}

/** From now on nothing that was handed out before holds. Throws SQLite's errors. */
export function forgetGenerations(database: DatabaseSync): void {
  database.exec('DELETE FROM generations');
}

/** Whether what was handed out as a sequence of a generation still means the same in the messages of `schema`. Throws SQLite's errors. */
export function holds(database: DatabaseSync, schema: string, generation: string, sequence: Sequence): boolean {
  return database.prepare(holdsIn(schema)).get(sequence, generation)?.['holds'] === 1;
}
