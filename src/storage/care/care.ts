/**
 * What is done to a database as a whole, beside its service or without it: to the file of an embedded one. PostgreSQL has tools of its
 * own.
 */
import type { DatabaseSettings } from '../../config/database-url.ts';
import { StartRefused } from '../../errors.ts';
import type { Backup, BackupOptions, Restored, RestoreOptions, Verified, VerifyOptions } from './options.ts';

/** Rejects with StartRefused where an operator has to mend something first. */
export async function backUp(database: DatabaseSettings, options: BackupOptions): Promise<Backup> {
  const path = pathOf(database, 'pg_dump, or pg_basebackup with an archive of its log');
  const { backUp: backUpFile } = await import('../sqlite/care/backup.ts');
  return await backUpFile(path, options);
}

/**
 * Puts a copy of a backup in the place of a database that is not served. What was handed out as a position before is refused from then on.
 * Whenever it is cut off, the database is what it was or what it should become. Rejects with StartRefused where an operator has to mend
 * something first.
 */
export async function restore(database: DatabaseSettings, options: RestoreOptions): Promise<Restored> {
  const path = pathOf(database, 'pg_restore, or what its backup was made with');
  const { restore: restoreFile } = await import('../sqlite/care/restore.ts');
  return await restoreFile(path, options);
}

/**
 * Looks whether a database is whole, and its read index what the messages make it. Rejects with StartRefused where it cannot be looked
 * at.
 */
export async function verify(database: DatabaseSettings, options: VerifyOptions): Promise<Verified> {
  const path = pathOf(database, 'pg_amcheck');
  const { verify: verifyFile } = await import('../sqlite/care/verify.ts');
  return await verifyFile(path, options);
}

function pathOf(database: DatabaseSettings, tools: string): string {
  if (database.kind === 'sqlite') return database.path;
  throw new StartRefused([`DATABASE_URL names a PostgreSQL, whose own tools do this: ${tools}`]);
}
