/** What is noticed of a database file that is written to past SQLite. */
import assert from 'node:assert/strict';
import { closeSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { createFileIdentity } from '../../../../src/storage/sqlite/file/identity.ts';
import { temporaryFolder, type Scope } from '../../../support/temporary.ts';
import { waitFor } from '../../../support/wait.ts';

/** The first page of a file with one table has nothing in its middle. */
const IN_FIRST_PAGE = 2048;

function openSmall(scope: Scope) {
  const path = join(temporaryFolder(scope), 'app.db');
  const database = new DatabaseSync(path);
  scope.after(() => database.close());
  database.exec('PRAGMA journal_mode = WAL; CREATE TABLE words(word TEXT); PRAGMA wal_checkpoint(TRUNCATE)');
  const identity = createFileIdentity(path, { isInPlace: () => true });
  const file = openSync(path, 'r+');
  scope.after(() => closeSync(file));
  return { identity, write: () => writeSync(file, 'x', IN_FIRST_PAGE) };
}

test('another program is noticed, and what this one has written itself is taken as it is', async (t) => {
  const own = openSmall(t);
  own.write();
  own.identity.written();
  own.identity.require();
  const foreign = openSmall(t);
  foreign.identity.require();
  // The time of a file may be as coarse as the clock of the kernel.
  await waitFor('it to be noticed', () => {
    foreign.write();
    try {
      foreign.identity.require();
      return false;
    } catch (error) {
      assert.match(String(error), /the database file was changed by another program/);
      return true;
    }
  });
});
