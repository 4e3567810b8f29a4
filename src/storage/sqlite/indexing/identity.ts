/** Whether a read index is of the messages beside it, as they are. */
import { existsSync, rmSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { StorageUnavailable } from '../../../errors.ts';
import { isDamage } from '../failures.ts';
import { holds } from '../file/generations.ts';
import { INDEX_VERSION, indexPathOf } from './schema.ts';

/** Removes every file of an index. Throws StorageUnavailable where that is not possible. */
export function removeIndex(path: string): void {
  try {
    for (const suffix of ['', '-wal', '-shm']) rmSync(indexPathOf(path) + suffix, { force: true });
  } catch {
    throw new StorageUnavailable('the read index cannot be removed');
  }
}

/**
 * Whether the index is missing, damaged, or of messages that are not in this database: signs that the database was moved or restored,
 * though each can have another cause. Never waits: an index that somebody else has locked is no such sign.
 */
export function isIndexOfAnotherDatabase(database: DatabaseSync, path: string): boolean {
  if (!existsSync(indexPathOf(path))) return true;
  let index: DatabaseSync | undefined;
  try {
    index = new DatabaseSync(indexPathOf(path), { readOnly: true, timeout: 0 });
    const { generation, through } = index.prepare('SELECT generation, CAST(indexed_through AS TEXT) AS through FROM progress').get() ?? {};
    return !holds(database, 'main', String(generation), String(through));
  } catch (error) {
    return isDamage(error);
  } finally {
    index?.close();
  }
}

/** Whether an index, with the messages attached as `inbox_file`, was made of them as they are, by this version. Throws SQLite's errors. */
export function isIndexUsable(index: DatabaseSync): boolean {
  if (index.prepare('PRAGMA user_version').get()?.['user_version'] !== INDEX_VERSION) return false;
  // It is not synced as the messages are: after a power cut, messages that are gone may be in it again.
  const { generation, through, is_current } = index.prepare(`
    SELECT generation, CAST(indexed_through AS TEXT) AS through, progress.edits = inbox.edits
      AND expired_out_through >= expired_removed AND erased_out_through >= erased_removed AS is_current
    FROM progress, inbox_file.inbox`).get() ?? {};
  return is_current === 1 && holds(index, 'inbox_file', String(generation), String(through));
}
