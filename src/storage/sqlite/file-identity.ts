import { statSync } from 'node:fs';
import { StorageUnavailable } from '../../errors.ts';

/** Which file a path leads to; undefined where to none. A file that is open keeps its identity to itself (stat(2)). */
export function identityOf(path: string): string | undefined {
  const found = statSync(path, { bigint: true, throwIfNoEntry: false });
  return found === undefined ? undefined : `${found.dev}:${found.ino}`;
}

/**
 * A file unlinked or replaced under its process keeps taking inserts without a word, and nobody will find them again.
 * Returns a check that throws StorageUnavailable where a path no longer leads to the file that it led to now.
 */
export function createFileIdentityCheck(paths: readonly string[]): () => void {
  const opened = paths.map(identityOf);
  return () => {
    const same = paths.map(identityOf).every((identity, index) => identity !== undefined && identity === opened[index]);
    if (!same) throw new StorageUnavailable('the database file was removed or replaced');
  };
}
