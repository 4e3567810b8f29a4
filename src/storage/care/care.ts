/**
 * What is done to a database as a whole, beside its service or without it: to the file of an embedded one. PostgreSQL has tools of its
 * own.
 */
import type { DatabaseSettings } from '../../config/database-url.ts';
import { StartRefused } from '../../errors.ts';
import type { Backup, BackupOptions } from './options.ts';

/** Rejects with StartRefused where an operator has to mend something first. */
export async function backUp(database: DatabaseSettings, options: BackupOptions): Promise<Backup> {
  const path = pathOf(database, 'pg_dump, or pg_basebackup with an archive of its log');
  const { backUp: backUpFile } = await import('../sqlite/care/backup.ts');
  return await backUpFile(path, options);
}

function pathOf(database: DatabaseSettings, tools: string): string {
  if (database.kind === 'sqlite') return database.path;
  throw new StartRefused([`DATABASE_URL names a PostgreSQL, whose own tools do this: ${tools}`]);
}
