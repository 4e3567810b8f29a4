/** Hides messages (`hidden.ts`), in steps of a few milliseconds, each inside the caller's transaction. */
import type { DatabaseSync } from 'node:sqlite';
import type { Erasure } from '../../storage.ts';
import { BEFORE_ALL_IDS, prepareWithAnyRowId } from '../row-ids.ts';
import { IN_ANY_WAY, isVisible } from './hidden.ts';

/** Rows that are looked at in one step: of those that may be hidden, each is written, and each is read whole. */
const EXPIRE_STEP_ROWS = 5000;
const ERASE_STEP_ROWS = 5000;

/** How far an erasure has come. */
export interface ErasureProgress {
  /** Of its row in `erasures`. */
  readonly number: bigint;
  /** Messages with an id up to here were looked at, and those up to `through` will be. */
  readonly after: bigint;
  readonly through: bigint;
}

/** An erasure that was asked for, or one that goes on. */
export interface ErasureRequest {
  readonly which: Erasure;
  readonly requestId: string;
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly progress: ErasureProgress | null;
}

export interface Hidden {
  /** How many messages the step has hidden. */
  readonly messages: number;
}

export interface Hiding {
  /**
   * Hides messages that were received before a time, in the order of their ids, which is that of receipt: never beyond one that was
   * received from then until `now`, as the clock may have gone back. One of a later time, as the clock was ahead, goes with its neighbours,
   * and never first. `isDone`: no more are to be hidden. Both are milliseconds since 1970.
   */
  expire(before: number, now: number): Hidden & { readonly isDone: boolean };
  /** `progress`: for the next step; null where all was looked at. */
  erase(request: ErasureRequest): Hidden & { readonly progress: ErasureProgress | null };
}

/** Every function throws SQLite's errors. */
export function createHiding(database: DatabaseSync): Hiding {
  return { expire: createExpire(database), erase: createErase(database) };
}

function createExpire(database: DatabaseSync): Hiding['expire'] {
  const look = prepareWithAnyRowId(database, `
    WITH next AS MATERIALIZED (
      SELECT id, received_at FROM messages NOT INDEXED
      WHERE id > (SELECT expired_through FROM inbox) ORDER BY id LIMIT ${EXPIRE_STEP_ROWS}
    ), before_kept AS (
      SELECT id, received_at FROM next
      WHERE id < ifnull((SELECT min(id) FROM next WHERE received_at >= ?1 AND received_at <= ?2), (SELECT max(id) + 1 FROM next))
    ), due AS (
      SELECT id, received_at FROM before_kept
      WHERE id <= (SELECT max(id) FROM before_kept WHERE received_at IS NULL OR received_at < ?1)
    )
    SELECT max(id) AS through, (SELECT count(*) FROM next) AS looked_at, count(*) AS due,
      total(received_at IS NOT NULL AND id NOT IN (SELECT id FROM hidden)) AS dated, total(received_at IS NULL) AS undated
    FROM due`);
  // Where nothing is expired that is not removed, what never expires is passed over.
  const hide = prepareWithAnyRowId(database, `
    UPDATE inbox SET expired_through = ?1, messages = messages - ?2, vanished = vanished + ?2,
      expired_after = iif(?2 = 0 AND expired_after = expired_through, ?1, expired_after),
      undated = iif(?2 = 0 AND expired_after = expired_through, 0, undated + ?3)`);
  return (before, now) => {
    const { through, looked_at, due, dated, undated } = look.get(before, now) ?? {};
    if (typeof through !== 'bigint') return { messages: 0, isDone: true };
    hide.run(through, Number(dated), Number(undated));
    return { messages: Number(dated), isDone: due !== looked_at || Number(looked_at) < EXPIRE_STEP_ROWS };
  };
}

function createErase(database: DatabaseSync): Hiding['erase'] {
  const newest = prepareWithAnyRowId(database, 'SELECT max(id) AS id FROM messages');
  const note = prepareWithAnyRowId(database, 'INSERT INTO erasures(at, request_id, messages) VALUES (?, ?, 0)');
  const count = prepareWithAnyRowId(database, 'UPDATE erasures SET messages = messages + ? WHERE number = ?');
  const vanish = prepareWithAnyRowId(database, 'UPDATE inbox SET messages = messages - ?1, vanished = vanished + ?1');
  const stepEnd = prepareWithAnyRowId(database, `
    SELECT max(id) AS id FROM (SELECT id FROM messages NOT INDEXED WHERE id > ? AND id <= ? ORDER BY id LIMIT ${ERASE_STEP_ROWS})`);
  const hide = (condition: string) => prepareWithAnyRowId(database, `
    INSERT INTO hidden(id, number) SELECT id, (SELECT vanished FROM inbox) + row_number() OVER (ORDER BY id)
    FROM messages WHERE ${condition} AND ${isVisible('messages.id', IN_ANY_WAY)}`);
  const hideById = hide('message_id = ?');
  const range = (column: string) => hide(`${column} = ? AND id > ? AND id <= ?`);
  const byNumber = { from: range('+from_number'), to: range('+to_number') };

  /** How many messages in the step's range. */
  function hideStep(which: Erasure, after: bigint, through: bigint): number {
    if ('message_id' in which) return Number(hideById.run(which.message_id).changes);
    return Number('from' in which
      ? byNumber.from.run(which.from, after, through).changes
      : byNumber.to.run(which.to, after, through).changes);
  }
  return ({ which, requestId, at, progress }) => {
    const begun = progress ?? begin(requestId, at);
    const end = 'message_id' in which ? begun.through : stepEnd.get(begun.after, begun.through)?.['id'];
    if (typeof end !== 'bigint') return { messages: 0, progress: null };
    const messages = hideStep(which, begun.after, end);
    if (messages > 0) {
      count.run(messages, begun.number);
      vanish.run(messages);
    }
    return { messages, progress: end < begun.through ? { ...begun, after: end } : null };
  };

  function begin(requestId: string, at: number): ErasureProgress {
    const through = newest.get()?.['id'];
    const number = BigInt(note.run(at, requestId).lastInsertRowid);
    return { number, after: BEFORE_ALL_IDS, through: typeof through === 'bigint' ? through : BEFORE_ALL_IDS };
  }
}
