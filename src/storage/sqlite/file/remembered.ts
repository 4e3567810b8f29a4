/**
 * The ids of messages that are gone, as keyed hashes: a repeat is known by them, and nobody can tell an id from them who has not the key
 * of the database, `inbox.id_key`. `until`: milliseconds since 1970; NULL: for ever.
 */
import { createHmac } from 'node:crypto';
import type { DatabaseSync } from 'node:sqlite';
import { acceptAnyRowId } from '../row-ids.ts';

/** Of HMAC-SHA256, truncated to half (RFC 2104, section 5): the table, which each new message is looked for in, is as small as can be. */
const HASH_BYTES = 16;
/** Looked at in one step, a millisecond: several times as many as a removal's step remembers, so that the table stops growing. */
const STEP_ROWS = 1000;

export interface Remembered {
  /** Whether an id is known at that time. */
  has(messageId: string, at: number): boolean;
  /** Remembers an id, inside the caller's transaction; null: for ever. */
  add(messageId: string, until: number | null): void;
  /** Takes out the next of those whose time has passed, inside the caller's transaction; all have been looked at after some calls. */
  forgetSome(at: number): void;
}

/** Every function throws SQLite's errors. */
export function createRemembered(database: DatabaseSync): Remembered {
  const { id_key: key } = database.prepare('SELECT id_key FROM inbox').get() ?? {};
  if (!(key instanceof Uint8Array)) throw new Error('the key of the ids is missing');
  const find = database.prepare('SELECT 1 FROM remembered WHERE hash = ? AND (until IS NULL OR until > ?)');
  const any = database.prepare('SELECT 1 FROM remembered LIMIT 1');
  // The larger one stays; with NULL max() is NULL.
  const insert = database.prepare(`
    INSERT INTO remembered VALUES (?, ?) ON CONFLICT(hash) DO UPDATE SET until = max(until, excluded.until)`);
  const look = database.prepare(`
    SELECT max(hash) AS last, total(until <= ?) AS past FROM (
      SELECT hash, until FROM remembered WHERE hash > ? ORDER BY hash LIMIT ${STEP_ROWS})`);
  const forget = database.prepare('DELETE FROM remembered WHERE hash > ? AND hash <= ? AND until <= ?');
  for (const statement of [insert, forget]) acceptAnyRowId(statement);

  const hashOf = (messageId: string) => createHmac('sha256', key).update(messageId).digest().subarray(0, HASH_BYTES);
  let mayHaveAny = any.get() !== undefined;
  /** Below every hash; an empty one would be bound as NULL. */
  const beforeAll = Uint8Array.of(0);
  let lookedAtThrough: Uint8Array = beforeAll;
  return {
    has: (messageId, at) => mayHaveAny && find.get(hashOf(messageId), at) !== undefined,
    add(messageId, until) {
      insert.run(hashOf(messageId), until);
      mayHaveAny = true;
    },
    forgetSome(at) {
      if (!mayHaveAny) return;
      const { last, past } = look.get(at, lookedAtThrough) ?? {};
      if (!(last instanceof Uint8Array)) {
        lookedAtThrough = beforeAll;
        mayHaveAny = any.get() !== undefined;
        return;
      }
      if (Number(past) > 0) forget.run(lookedAtThrough, last, at);
      lookedAtThrough = last;
    },
  };
}
