/** A position means the same message for ever, or is refused: also after a restore, whatever of the inbox stands beside it. */
import assert from 'node:assert/strict';
import { copyFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, test } from 'node:test';
import type { Storage } from '../../../../src/storage/storage.ts';
import { message } from '../../../support/messages.ts';
import { openTestStorage } from '../../../support/storage.ts';
import { temporaryFolder } from '../../../support/temporary.ts';
import { waitFor } from '../../../support/wait.ts';

async function store(storage: Storage, ...ids: string[]) {
  for (const message_id of ids) await storage.append(message({ message_id }));
  return { generation: storage.generation, sequence: await storage.newestSequence() };
}

const indexed = (storage: Storage) => waitFor('the index', () => storage.indexLag() === 0);

function change(path: string, sql: string): void {
  const database = new DatabaseSync(path);
  database.exec(sql);
  database.close();
}

/** Puts a backup in the place of the messages. */
function restore(path: string): void {
  for (const suffix of ['-wal', '-shm']) rmSync(path + suffix, { force: true });
  copyFileSync(`${path}-backup`, path);
}

describe('a position', () => {
  test('holds over any number of restarts and kills', async (t) => {
    const path = join(temporaryFolder(t), 'app.db');
    const handedOut: Awaited<ReturnType<typeof store>>[] = [];
    for (const id of ['a', 'b', 'c']) {
      const storage = await openTestStorage(t, path);
      handedOut.push(await store(storage, id));
      for (const { generation, sequence } of handedOut) assert.ok(await storage.holds({ generation, sequence }));
      await indexed(storage);
      await storage.close();
    }
    const storage = await openTestStorage(t, path);
    await store(storage, 'd', 'e');
    for (const { generation, sequence } of handedOut) {
      assert.ok(await storage.holds({ generation, sequence }));
      // What that start had not stored yet when the next one began.
      assert.equal(await storage.holds({ generation, sequence: String(BigInt(sequence) + 1n) }), false);
    }
    assert.equal(await storage.holds({ generation: '0123456789abcdef', sequence: '1' }), false);
  });

  const restores: Record<string, (path: string) => void> = {
    'with the newer index beside it': () => {},
    'with the newer index beside it, and a message deleted before the start': (path) => change(path, "DELETE FROM messages WHERE message_id = 'a'"),
    'with the newer index beside it, and a message changed before the start': (path) => change(path, "UPDATE messages SET text = 'other'"),
    'with an index that was behind the backup': (path) => copyFileSync(`${path}-early`, `${path}-index`),
    'without an index': (path) => rmSync(`${path}-index`),
  };
  for (const [what, arrange] of Object.entries(restores)) {
    test(`of after a backup is refused once that is restored, ${what}, also when as much is stored again`, async (t) => {
      const path = join(temporaryFolder(t), 'app.db');
      const storage = await openTestStorage(t, path);
      await store(storage, 'a', 'b');
      await indexed(storage);
      change(`${path}-index`, `PRAGMA wal_checkpoint; VACUUM INTO '${path}-early'`);
      change(path, `VACUUM INTO '${path}-backup'`);
      const { generation, sequence } = await store(storage, 'c', 'd');
      await indexed(storage);
      await storage.close();
      restore(path);
      arrange(path);
      const restored = await openTestStorage(t, path);
      assert.equal(await restored.holds({ generation, sequence }), false);
      await store(restored, 'e', 'f', 'g');
      assert.equal(await restored.holds({ generation, sequence }), false);
      await restored.close();
      assert.equal(await (await openTestStorage(t, path)).holds({ generation, sequence }), false);
    });
  }
});
