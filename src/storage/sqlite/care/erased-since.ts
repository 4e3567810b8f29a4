/**
 * What was erased since a backup was made: a restore takes it out of the copy of the backup, as the database that it replaces remembers
 * it. That can tell only where both are one database, with one key of its ids.
 */
import { statSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { AS_BY_DEFAULT, BUSY_TIMEOUT_MS, readOnlyUri } from '../connection-options.ts';
import { isDamage, resultCode } from '../failures.ts';
import { createRemembered } from '../file/remembered.ts';
import { inTransaction } from '../file/transaction.ts';
import { SCHEMA_VERSION, unlikeDefined, versionOfTables } from '../file/upgrade/own-objects.ts';
import { acceptAnyRowId } from '../row-ids.ts';

/** After every time up to which an expired id is known: only those that are known for ever are known then. */
const AFTER_ALL_TIMES = Number.MAX_SAFE_INTEGER;

/**
 * Removes from a copy what was erased in the database at `replaced`, and remembers it there. Returns how many messages those were; null,
 * and changes nothing, where that cannot be told: there is no database, it is damaged, or it is another one or of an earlier schema.
 * What is left of the messages in the free pages of the copy is for the caller to remove. Throws SQLite's errors of the copy.
 */
export function removeErasedSince(copy: DatabaseSync, replaced: string): number | null {
  if (unlikeDefined(copy).length > 0 || !isReadable(replaced)) return null;
  copy.prepare('ATTACH ? AS replaced').run(readOnlyUri(replaced));
  try {
    const isSame = copy.prepare('SELECT 1 FROM main.inbox AS own, replaced.inbox AS other WHERE own.id_key = other.id_key').get();
    return isSame === undefined ? null : takeOver(copy);
  } catch (error) {
    if (!isDamage(error)) throw error;
    return null;
  } finally {
    copy.exec('DETACH replaced');
  }
}

/** Whether it can be read, and is of this schema. */
function isReadable(path: string): boolean {
  // Beside an empty file a log would be taken for none.
  if ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) === 0) return false;
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(path, { ...AS_BY_DEFAULT, readOnly: true, timeout: BUSY_TIMEOUT_MS });
    return versionOfTables(database) === SCHEMA_VERSION;
  } catch (error) {
    if (resultCode(error) === undefined) throw error;
    return false;
  } finally {
    database?.close();
  }
}

function takeOver(copy: DatabaseSync): number {
  return inTransaction(copy, () => {
    copy.exec(`
      INSERT INTO main.remembered SELECT hash, NULL FROM replaced.remembered WHERE until IS NULL
      ON CONFLICT(hash) DO UPDATE SET until = NULL;
      DELETE FROM main.erasures WHERE (at, request_id) IN (SELECT at, request_id FROM replaced.erasures);
      INSERT INTO main.erasures(at, request_id, messages) SELECT at, request_id, messages FROM replaced.erasures ORDER BY number`);
    const remembered = createRemembered(copy);
    // Erased, while their rows were still there.
    const hidden = copy.prepare('SELECT message_id FROM replaced.hidden JOIN replaced.messages USING (id)');
    for (const { message_id } of hidden.iterate()) remembered.add(String(message_id), null);
    return removeKnown(copy, (messageId) => remembered.has(messageId, AFTER_ALL_TIMES));
  });
}

function removeKnown(copy: DatabaseSync, isErased: (messageId: string) => boolean): number {
  const walk = copy.prepare('SELECT id, message_id FROM main.messages');
  walk.setReadBigInts(true);
  const ids: bigint[] = [];
  for (const { id, message_id } of walk.iterate()) {
    if (typeof id === 'bigint' && isErased(String(message_id))) ids.push(id);
  }
  const remove = copy.prepare('DELETE FROM main.messages WHERE id = ?');
  acceptAnyRowId(remove);
  for (const id of ids) remove.run(id);
  return ids.length;
}
