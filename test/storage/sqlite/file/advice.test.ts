/** Each kind of failure to open a file gets its own advice, and only what is about permissions advises to mend those. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { adviceFor } from '../../../../src/storage/sqlite/file/advice.ts';
import { REFERENCE_SCHEMA } from '../../../support/reference-schema.ts';
import { CHECKOUT } from '../../../support/server-process.ts';
import { openTestStorage } from '../../../support/storage.ts';
import { temporaryFolder } from '../../../support/temporary.ts';

const PERMISSIONS = /writable for|permission/;

describe('an error', () => {
  const ofSystem = (code: string) => Object.assign(new Error(`${code}: failed`), { code, syscall: 'open' });
  const ofSqlite = (errcode: number, words = 'words of SQLite') => Object.assign(new Error(words), { code: 'ERR_SQLITE_ERROR', errcode });
  const errors: [Error, RegExp][] = [
    [ofSystem('EACCES'), /cannot be written; make the file and its folder writable for this user \(uid \d+\)/],
    [ofSystem('EPERM'), /make the file and its folder writable/],
    [ofSystem('EROFS'), /read-only file system; mount that for writing/],
    [ofSystem('EMFILE'), /process has too many open files; raise its limit/],
    [ofSystem('ENFILE'), /system has too many open files/],
    [ofSystem('EISDIR'), /is not a file/],
    [ofSystem('ENOENT'), /folder does not exist; create it/],
    [ofSystem('ENOTDIR'), /not a folder/],
    [ofSystem('ENAMETOOLONG'), /too long a name/],
    [ofSystem('ELOOP'), /links that lead to each other/],
    [ofSystem('EIO'), /disk reports an error/],
    [ofSystem('ENOSPC'), /disk is full; free some space/],
    [ofSystem('EDQUOT'), /disk is full; free some space/],
    [ofSystem('EWHATEVER'), /cannot be opened \(EWHATEVER\)/],
    [ofSqlite(1, 'no such table: x'), /cannot be opened: no such table: x \(SQLite error 1\)/],
    [ofSqlite(5), /locked by another process; stop it/],
    [ofSqlite(7), /cannot be opened: words of SQLite \(SQLite error 7\)/],
    [ofSqlite(10), /disk reports an error/],
    [ofSqlite(11), /damaged; move it away or restore a backup/],
    [ofSqlite(13), /disk is full; free some space/],
    // Nothing is wrong with the folder that it is asked about.
    [ofSqlite(8), /cannot be opened: words of SQLite \(SQLite error 8\)/],
    [ofSqlite(14), /cannot be opened: words of SQLite \(SQLite error 14\)/],
    [ofSqlite(26), /is not a SQLite database/],
    [ofSqlite(1034), /a sync to disk failed/],
    [ofSqlite(1811), /words of SQLite \(SQLite error 1811\)/],
  ];
  for (const [error, advice] of errors) {
    test(`${'errcode' in error ? `${String(error.errcode)} of SQLite` : error.message}: ${advice.source}`, (t) => {
      const said = adviceFor(error, join(temporaryFolder(t), 'app.db')) ?? '';
      assert.match(said, advice);
      if (!/EACCES|EPERM/.test(error.message)) assert.doesNotMatch(said, PERMISSIONS);
    });
  }

  test('that is of no file is none to advise on', () => assert.equal(adviceFor(new TypeError('a mistake'), 'app.db'), undefined));
});

describe('a file that cannot be opened', () => {
  const files: Record<string, [(path: string) => string | void, RegExp]> = {
    'because a link leads to itself': [(path) => void symlinkSync(path, path), /links that lead to each other/],
    'because its folder is such a link': [(path) => { symlinkSync(`${path}-x`, `${path}-x`); return join(`${path}-x`, 'app.db'); }, /links that lead to each other/],
    'because its name is too long': [(path) => `${path}${'x'.repeat(300)}`, /too long a name/],
    'because its name is too long for the files beside it': [(path) => `${path}${'x'.repeat(244)}`, /too long a name/],
    'because it is a folder': [(path) => void mkdirSync(path), /is not a file/],
    'because its lock is a folder': [(path) => void mkdirSync(`${path}-lock`), /-lock is not a file/],
    'because its lock is something else': [(path) => void writeFileSync(`${path}-lock`, 'x'.repeat(2000)), /-lock is not the empty file.*remove it/],
    'because its log is a folder': [(path) => {
      const database = new DatabaseSync(path);
      database.exec(REFERENCE_SCHEMA);
      database.close();
      mkdirSync(`${path}-wal`);
    }, /-wal is not a file/],
  };
  for (const [why, [make, advice]] of Object.entries(files)) {
    test(why, async (t) => {
      const path = join(temporaryFolder(t), 'app.db');
      const made = make(path);
      await assert.rejects(openTestStorage(t, made ?? path), (error: unknown) => {
        assert.match(String(error), advice);
        assert.doesNotMatch(String(error), PERMISSIONS);
        return true;
      });
    });
  }

  /** Tries to lock a database beside which there is that much room, in a process of its own. */
  function lockElsewhere(path: string, begin: string, shell: string, uid?: number): string {
    const source = pathToFileURL(join(CHECKOUT, 'src/storage/sqlite/file/process-lock.ts')).href;
    const script = `
      import { openSync } from 'node:fs';
      import { lockForThisProcess } from '${source}';
      try { ${begin} } catch {}
      try { lockForThisProcess(${JSON.stringify(path)}); console.log('locked'); } catch (error) { console.log(error.message); }`;
    const { stdout, stderr } = spawnSync('sh', ['-c', `${shell} exec "$0" --input-type=module -e "$1"`, process.execPath, script],
      { encoding: 'utf8', ...(uid !== undefined && { uid, gid: uid }) });
    return stdout + stderr;
  }

  test('because too many files are open', (t) => {
    const said = lockElsewhere(join(temporaryFolder(t), 'app.db'), "for (;;) openSync('/dev/null');", 'ulimit -n 256;');
    assert.match(said, /too many open files; raise its limit/);
    assert.doesNotMatch(said, PERMISSIONS);
  });

  const ANOTHER_USER = 65_534;
  test('because this user may not', (t) => {
    if (process.getuid?.() !== 0) return t.skip('only root can become another user');
    const folder = temporaryFolder(t);
    chmodSync(folder, 0o755);
    const said = lockElsewhere(join(folder, 'app.db'), '', '', ANOTHER_USER);
    if (/Cannot find module|EACCES: permission denied, (?:open|lstat) '.*\.ts/.test(said)) return t.skip('that user cannot read the sources');
    assert.match(said, /app\.db-lock cannot be written; make the file and its folder writable for this user \(uid 65534\)/);
  });
});
