/** Another program deletes rows that are hidden, or are not, while the service is stopped. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, test, type TestContext } from 'node:test';
import { createAppend } from '../../../../src/storage/sqlite/file/append.ts';
import { createHiding } from '../../../../src/storage/sqlite/file/hiding.ts';
import { openForWriting } from '../../../../src/storage/sqlite/file/open.ts';
import { createRemembered } from '../../../../src/storage/sqlite/file/remembered.ts';
import { inTransaction } from '../../../../src/storage/sqlite/file/transaction.ts';
import { verify } from '../../../../src/storage/sqlite/care/verify.ts';
import { message } from '../../../support/messages.ts';
import { openTestStorage } from '../../../support/storage.ts';
import { countRows } from '../../../support/stored-rows.ts';
import { temporaryFolder } from '../../../support/temporary.ts';
import { waitFor } from '../../../support/wait.ts';

const RECEIVED_AT = 1_740_000_000_000;
const ALL = { limit: 100, offset: 0 };

/** Messages of which some are hidden and none is removed: expired are e0 to e4, erased x0 to x4, and k0 to k4 are kept. */
async function makeFile(t: TestContext): Promise<string> {
  const path = join(temporaryFolder(t), 'app.db');
  const before = await openTestStorage(t, path);
  await before.close();
  const { database } = openForWriting(path, () => {}, () => false);
  const append = createAppend(database, createRemembered(database));
  const hiding = createHiding(database);
  const messagesOf = (kind: string, from: string) =>
    Array.from({ length: 5 }, (_, index) => message({ message_id: `${kind}${index}`, from }));
  inTransaction(database, () => {
    append({ received_at: RECEIVED_AT, messages: messagesOf('e', '+4911') });
    append({ received_at: RECEIVED_AT + 1000, messages: [...messagesOf('x', '+4922'), ...messagesOf('k', '+4933')] });
    assert.equal(hiding.expire(RECEIVED_AT + 1, RECEIVED_AT + 2000).messages, 5);
    assert.equal(hiding.erase({ which: { from: '+4922' }, requestId: 'request', at: 0, progress: null }).messages, 5);
  });
  database.close();
  return path;
}

function change(path: string, sql: string): void {
  const database = new DatabaseSync(path);
  database.exec(sql);
  database.close();
}

const DELETIONS: Record<string, readonly [which: string, kept: number]> = {
  'an expired message': ["'e2'", 5],
  'the last expired message': ["'e4'", 5],
  'all expired messages': ["'e0', 'e1', 'e2', 'e3', 'e4'", 5],
  'an erased message': ["'x2'", 5],
  'the last erased message': ["'x4'", 5],
  'all erased messages': ["'x0', 'x1', 'x2', 'x3', 'x4'", 5],
  'one of each kind': ["'e1', 'x1', 'k1'", 4],
  'all of them': ["'e0', 'e1', 'e2', 'e3', 'e4', 'x0', 'x1', 'x2', 'x3', 'x4', 'k0', 'k1', 'k2', 'k3', 'k4'", 0],
};

describe('the next start is right where another program has deleted', { concurrency: 8 }, () => {
  for (const [what, [ids, kept]] of Object.entries(DELETIONS)) {
    test(what, async (t) => {
      const path = await makeFile(t);
      change(path, `DELETE FROM messages WHERE message_id IN (${ids})`);
      const storage = await openTestStorage(t, path, {}, { retention: { keepMs: null, rememberMs: 1e12 } });
      const left = async () => (await storage.list(ALL)).items.map(({ message_id }) => message_id);
      const requireKept = async () => {
        assert.deepEqual(await left(), ['k0', 'k1', 'k2', 'k3', 'k4'].filter((id) => !ids.includes(id)));
        assert.deepEqual([(await storage.list(ALL)).total, (await storage.stats()).total], [kept, kept]);
        for (const from of ['+4911', '+4922']) assert.equal((await storage.list({ ...ALL, from })).total, 0);
      };
      await requireKept();
      await waitFor('the removal', () => countRows(path) === kept);
      await waitFor('the index', () => storage.indexLag() === 0);
      await requireKept();
      const gone = ['e0', 'x0'].filter((id) => !ids.includes(id));
      for (const message_id of gone) assert.equal(await storage.append(message({ message_id })), 'duplicate');
      assert.equal(await storage.append(message({ message_id: 'new', from: '+4922' })), 'stored');
      assert.equal((await storage.stats()).total, kept + 1);
      await storage.close();
      const said: string[] = [];
      await verify(path, { tell: () => {}, say: (problem) => said.push(problem) });
      assert.deepEqual(said, []);
    });
  }
});
