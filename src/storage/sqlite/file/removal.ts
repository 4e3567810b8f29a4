/** Removes the rows of hidden messages (`hidden.ts`), in steps that nobody waits long for, each inside the caller's transaction. */
import type { DatabaseSync } from 'node:sqlite';
import { prepareWithAnyRowId } from '../row-ids.ts';
import type { Remembered } from './remembered.ts';

/** Rows of one step. Each changes some pages of the table's indexes, anywhere in them. */
const STEP_ROWS = 200;

/** Up to where nothing but the rows themselves has the hidden messages any more. */
export interface TakenOut {
  /** The id of an expired message. */
  readonly expiredThrough: bigint;
  /** The number of an erased message. */
  readonly erasedThrough: bigint;
}

export interface RemovalRequest extends TakenOut {
  /** Until when an expired id is known, in milliseconds since 1970. */
  readonly rememberUntil: number;
}

export interface Removal {
  /** Removes the next rows, the erased ones first, and remembers their ids. `isDone`: there are no more. */
  remove(request: RemovalRequest): { readonly messages: number; readonly isDone: boolean };
}

/** Every function throws SQLite's errors. */
export function createRemoval(database: DatabaseSync, remembered: Remembered): Removal {
  const removeErased = createRemoveErased(database, remembered);
  const removeExpired = createRemoveExpired(database, remembered);
  const readEdits = prepareWithAnyRowId(database, 'SELECT edits FROM inbox');
  const setEdits = prepareWithAnyRowId(database, 'UPDATE inbox SET edits = ?');
  return {
    remove(request) {
      const { edits } = readEdits.get() ?? {};
      const erased = removeErased(request);
      const expired = erased < STEP_ROWS ? removeExpired(request, STEP_ROWS - erased) : { messages: 0, isDone: false };
      const messages = erased + expired.messages;
      // What counts deletions has taken these for another program's.
      if (messages > 0 && typeof edits === 'bigint') setEdits.run(edits);
      return { messages, isDone: expired.isDone };
    },
  };
}

const REMOVE_ROW = 'DELETE FROM messages WHERE id = ?';

function createRemoveErased(database: DatabaseSync, remembered: Remembered): (takenOut: TakenOut) => number {
  const next = prepareWithAnyRowId(database, `
    SELECT hidden.id, hidden.number, message_id FROM hidden LEFT JOIN messages USING (id)
    WHERE number <= ? ORDER BY number LIMIT ${STEP_ROWS}`);
  const removeRow = prepareWithAnyRowId(database, REMOVE_ROW);
  const unhide = prepareWithAnyRowId(database, 'DELETE FROM hidden WHERE id = ?');
  const note = prepareWithAnyRowId(database, 'UPDATE inbox SET erased_removed = ?');
  return ({ erasedThrough }) => {
    const rows = next.all(erasedThrough);
    for (const { id, message_id } of rows) {
      if (typeof id !== 'bigint') continue;
      // Another program may have deleted it meanwhile.
      if (typeof message_id === 'string') remembered.add(message_id, null);
      removeRow.run(id);
      unhide.run(id);
    }
    const last = rows.at(-1)?.['number'];
    if (typeof last === 'bigint') note.run(last);
    return rows.length;
  };
}

type RemoveExpired = (request: RemovalRequest, limit: number) => { readonly messages: number; readonly isDone: boolean };

function createRemoveExpired(database: DatabaseSync, remembered: Remembered): RemoveExpired {
  // Without an id what stays: undated ones, and erased ones, which go by themselves.
  const next = prepareWithAnyRowId(database, `
    SELECT id, iif(received_at IS NULL OR id IN (SELECT id FROM hidden), NULL, message_id) AS message_id FROM messages NOT INDEXED
    WHERE id > (SELECT expired_after FROM inbox) AND id <= min(?, (SELECT expired_through FROM inbox))
    ORDER BY id LIMIT ?`);
  const end = prepareWithAnyRowId(database, 'SELECT max(expired_after, min(?, expired_through)) AS id FROM inbox');
  const removeRow = prepareWithAnyRowId(database, REMOVE_ROW);
  const note = prepareWithAnyRowId(database, 'UPDATE inbox SET expired_removed = ?');
  const pass = prepareWithAnyRowId(database, 'UPDATE inbox SET expired_after = ?1, undated = iif(expired_through <= ?1, 0, undated)');
  return ({ expiredThrough, rememberUntil }, limit) => {
    const rows = next.all(expiredThrough, limit);
    let messages = 0;
    for (const { id, message_id } of rows) {
      if (typeof id !== 'bigint' || typeof message_id !== 'string') continue;
      remembered.add(message_id, rememberUntil);
      removeRow.run(id);
      note.run(id);
      messages += 1;
    }
    // The end of what is expired may be the id of a row that is gone.
    const through = rows.length < limit ? end.get(expiredThrough)?.['id'] : rows.at(-1)?.['id'];
    if (typeof through === 'bigint') pass.run(through);
    return { messages, isDone: rows.length < limit };
  };
}
