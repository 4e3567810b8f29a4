import { DatabaseSync } from 'node:sqlite';
import { AS_BY_DEFAULT } from '../../connection-options.ts';
import { createAppend } from '../append.ts';
import { createRemembered } from '../remembered.ts';

/** Ids that differ in their letters alone, and texts that someone else's expression may not be ready for. */
const MESSAGES = [['a', null], ['A', ''], ['\u{1F600}', '{"\u{1F600}'], [' a', '0012']] as const;

/**
 * Stores messages in an empty copy, in memory, of all that a file defines, after `prepare` has done to it what is to be done to the file:
 * what would refuse them there, such as a trigger that writes to a table that is gone, is seen before anything is touched. Throws
 * SQLite's errors.
 */
export function rehearse(database: DatabaseSync, prepare: (copy: DatabaseSync) => void): void {
  const copy = new DatabaseSync(':memory:', AS_BY_DEFAULT);
  try {
    copyDefinitions(database, copy);
    prepare(copy);
    const message = { from: '+12', to: '+13', ts: '2025-01-15T10:00:00Z' };
    const outcomes = createAppend(copy, createRemembered(copy))({
      received_at: 0, messages: MESSAGES.map(([message_id, text]) => ({ ...message, message_id, text })),
    });
    const stored = copy.prepare('SELECT count(*) AS rows FROM messages').get()?.['rows'];
    if (stored !== outcomes.length || outcomes.some((outcome) => outcome !== 'stored')) throw new Error('it does not keep all of them');
  } finally {
    copy.close();
  }
}

/** What is of no concern to messages may need what is not here, such as the module of a virtual table. */
function copyDefinitions(database: DatabaseSync, copy: DatabaseSync): void {
  const definitions = database.prepare(`
    SELECT sql, lower(tbl_name) = 'messages' AS is_of_messages FROM sqlite_schema
    WHERE sql IS NOT NULL AND substr(name, 1, 7) <> 'sqlite_' ORDER BY type <> 'table', rowid`).all();
  for (const { sql, is_of_messages } of definitions) {
    try {
      copy.exec(String(sql));
    } catch (error) {
      if (is_of_messages === 1) throw error;
    }
  }
}
