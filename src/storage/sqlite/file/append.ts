import type { DatabaseSync } from 'node:sqlite';
import { instantOf, type Message } from '../../../message.ts';
import type { MovedMessage } from '../../move/sides.ts';
import type { AppendOutcome } from '../../storage.ts';
import { acceptAnyRowId } from '../row-ids.ts';
import { IN_ANY_WAY, isVisible } from './hidden.ts';
import type { Remembered } from './remembered.ts';

/** Messages that came together: all that decides what their rows hold. */
export interface Batch {
  /** The server's time, in milliseconds since 1970. */
  readonly received_at: number;
  readonly messages: readonly Message[];
}

/** Each tells whether it was stored, and not there before. */
function createInsert(database: DatabaseSync): (message: Message, received_at: number | bigint | null) => boolean {
  const insert = database.prepare(`
    INSERT INTO messages(message_id, from_number, to_number, ts, text, instant, received_at) VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT(message_id) DO NOTHING`);
  acceptAnyRowId(insert);
  return ({ message_id, from, to, ts, text }, received_at) =>
    insert.run(message_id, from, to, ts, text, instantOf(ts) ?? ts, received_at).changes === 1n;
}

function createCount(database: DatabaseSync): (stored: number) => void {
  const count = database.prepare('UPDATE inbox SET messages = messages + ?');
  acceptAnyRowId(count);
  return (stored) => void count.run(stored);
}

/**
 * Stores the messages of a batch, inside the caller's transaction, and tells how each one ended: one whose id is
 * `remembered` as a repeat. Throws SQLite's errors.
 */
export function createAppend(database: DatabaseSync, remembered: Remembered): (batch: Batch) => AppendOutcome[] {
  const insert = createInsert(database);
  const count = createCount(database);
  const stored = database.prepare(`
    SELECT from_number, to_number, ts, text, ${isVisible('messages.id', IN_ANY_WAY)} AS is_visible FROM messages WHERE message_id = ?`);

  const isSame = (message: Message): boolean => {
    const first = stored.get(message.message_id);
    // Of a message that is gone nothing can be told any more, and so not of one that is going.
    return first?.['is_visible'] === 0 || first?.['from_number'] === message.from && first['to_number'] === message.to &&
      first['ts'] === message.ts && first['text'] === message.text;
  };
  const store = (message: Message, received_at: number): AppendOutcome => {
    if (remembered.has(message.message_id, received_at)) return 'duplicate';
    if (insert(message, received_at)) return 'stored';
    return isSame(message) ? 'duplicate' : 'conflicting_duplicate';
  };
  return ({ received_at, messages }) => {
    const outcomes = messages.map((message) => store(message, received_at));
    count(outcomes.filter((outcome) => outcome === 'stored').length);
    return outcomes;
  };
}

/** Stores what was stored elsewhere, inside the caller's transaction, and tells how many were not there before. Throws SQLite's errors. */
export function createTakeOver(database: DatabaseSync): (moved: readonly MovedMessage[]) => number {
  const insert = createInsert(database);
  const count = createCount(database);
  return (moved) => {
    const stored = moved.filter(({ message, received_at }) => insert(message, received_at === null ? null : BigInt(received_at))).length;
    count(stored);
    return stored;
  };
}
