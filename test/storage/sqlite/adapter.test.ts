import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, test } from 'node:test';
import type { Storage } from '../../../src/storage/storage.ts';
import { message } from '../../support/messages.ts';
import { openTestStorage } from '../../support/storage.ts';
import { countRows } from '../../support/stored-rows.ts';
import { type Scope, temporaryFolder } from '../../support/temporary.ts';
import { waitFor } from '../../support/wait.ts';
import { testStorageContract } from '../contract.ts';
import type { LifeOptions } from '../removal-contract.ts';

testStorageContract('the SQLite adapter', async (t, options) => {
  const path = join(temporaryFolder(t), 'app.db');
  let storage = await openComplete(t, path, options);
  return {
    storage,
    async reopen() {
      await storage.close();
      return (storage = await openComplete(t, path, options));
    },
    async removed() {
      const { total } = await storage.list({ limit: 1, offset: 0 });
      await waitFor('the removal', () => countRows(path) === total);
    },
  };
});

/** Its start does not wait for long until the index can be used. */
async function openComplete(scope: Scope, path: string, options: LifeOptions = {}): Promise<Storage> {
  const storage = await openTestStorage(scope, path, {}, options);
  await waitFor('the read index', () => storage.degraded().length === 0);
  return storage;
}

describe('probing', () => {
  test('lets the disk rest after a write that went well, looks all the same, and writes again after a failure', async (t) => {
    const path = join(temporaryFolder(t), 'app.db');
    const storage = await openTestStorage(t, path);
    const logged = () => statSync(`${path}-wal`, { bigint: true }).mtimeNs;
    const opened = logged();
    await storage.probe();
    const written = logged();
    assert.notEqual(written, opened);
    for (let count = 0; count < 5; count += 1) await storage.probe();
    assert.equal(logged(), written);

    await storage.append(message());
    const appended = logged();
    for (let count = 0; count < 5; count += 1) await storage.probe();
    assert.equal(logged(), appended);

    const other = new DatabaseSync(path);
    t.after(() => other.close());
    other.exec('BEGIN IMMEDIATE');
    await assert.rejects(storage.probe(), { reason: 'the database is locked by another process' });
    other.exec('ROLLBACK');
    await storage.probe();
    assert.notEqual(logged(), appended);
  });
});

test('sizes are those of its files and of what is left of their disk', async (t) => {
  const storage = await openTestStorage(t, join(temporaryFolder(t), 'app.db'));
  await storage.append(message());
  for (const [name, bytes] of Object.entries(await storage.sizes())) assert.ok((bytes ?? 0) > 0, name);
});
