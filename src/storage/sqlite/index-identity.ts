/** Whether the read index beside the messages is of these messages, and what happens where it is not. */
import { existsSync, rmSync } from 'node:fs';
import type { DatabaseSync } from 'node:sqlite';
import { StartRefused } from '../../errors.ts';
import { reasonOf, resultCode, SQLITE_CORRUPT, SQLITE_ERROR, SQLITE_NOTADB } from './failures.ts';
import { INDEX_VERSION, indexPathOf, readOnlyUri } from './index-schema.ts';
import { BEFORE_ALL_IDS, renewGeneration } from './schema.ts';

/** Throws StartRefused where it cannot be removed. */
export function removeIndex(path: string): void {
  for (const file of ['', '-wal', '-shm'].map((suffix) => indexPathOf(path) + suffix)) {
    try {
      rmSync(file, { force: true });
    } catch {
      throw new StartRefused([`DATABASE_URL: ${file} is of a read index that must be made anew, and cannot be removed; remove it`]);
    }
  }
}

/**
 * Removes an index that was not made from this very database as it is. Where it is missing, of another generation, or ahead of
 * the messages, they were moved or restored; then the database gets a new generation, too. (A backup that has all that the index
 * has, though not all that was stored, looks like the database that it was taken of.) Throws StartRefused.
 */
export function removeIndexOfAnotherDatabase(database: DatabaseSync, path: string): void {
  const kind = judgeIndex(database, path);
  if (kind === 'usable') return;
  removeIndex(path);
  if (kind === 'of another database') renewGeneration(database);
}

function judgeIndex(database: DatabaseSync, path: string): 'usable' | 'outdated' | 'of another database' {
  const indexPath = indexPathOf(path);
  if (!existsSync(indexPath)) return 'of another database';
  try {
    database.prepare('ATTACH ? AS read_index').run(readOnlyUri(indexPath));
    const { is_same, edits_since, is_ahead } = database.prepare(`
      SELECT progress.generation = inbox.generation AS is_same, inbox.edits - progress.edits AS edits_since,
        indexed_through > ifnull((SELECT max(id) FROM messages), ${BEFORE_ALL_IDS}) AS is_ahead
      FROM read_index.progress AS progress, inbox`).get() ?? {};
    if (is_same !== 1 || Number(edits_since) < 0 || (edits_since === 0 && is_ahead === 1)) return 'of another database';
    const version = database.prepare('PRAGMA read_index.user_version').get()?.['user_version'];
    return version === INDEX_VERSION && edits_since === 0 ? 'usable' : 'outdated';
  } catch (error) {
    // Damaged, or no index at all.
    if ([SQLITE_CORRUPT, SQLITE_NOTADB, SQLITE_ERROR].includes((resultCode(error) ?? 0) & 0xff)) return 'of another database';
    const remedy = 'mend that, or remove the file: it is made anew';
    throw new StartRefused([`DATABASE_URL: ${indexPath} cannot be read: ${reasonOf(error)}; ${remedy}`]);
  } finally {
    const isAttached = database.prepare("SELECT 1 FROM pragma_database_list WHERE name = 'read_index'").get() !== undefined;
    if (isAttached) database.exec('DETACH read_index');
  }
}
