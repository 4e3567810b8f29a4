import { statSync } from 'node:fs';
import { StorageUnavailable } from '../../errors.ts';

/**
 * A file unlinked or replaced under its process keeps taking inserts without a word, and nobody will find them again.
 * Returns a check that throws StorageUnavailable where a path no longer leads to the file that it led to now.
 */
export function createFileIdentityCheck(paths: readonly string[]): () => void {
  const identities = () => paths.map((path) => {
    const found = statSync(path, { bigint: true, throwIfNoEntry: false });
    return found === undefined ? 'gone' : `${found.dev}:${found.ino}`;
  });
  const opened = identities();
  return () => {
    const same = identities().every((identity, index) => identity === opened[index] && identity !== 'gone');
    if (!same) throw new StorageUnavailable('the database file was removed or replaced');
  };
}
