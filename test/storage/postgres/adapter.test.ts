/** The PostgreSQL storage on a throw-away server. */
import assert from 'node:assert/strict';
import { after, describe, test, type TestContext } from 'node:test';
import { message } from '../../support/messages.ts';
import { isInstalled, NOT_INSTALLED, type Postgres, startPostgres } from '../../support/postgres.ts';
import { openOn, type PostgresTestOptions } from '../../support/postgres-storage.ts';
import { waitFor } from '../../support/wait.ts';
import { testStorageContract } from '../contract.ts';

if (isInstalled) await testOn(await startPostgres({ after }));
else test('the PostgreSQL storage', { skip: NOT_INSTALLED }, () => {});

async function testOn(server: Postgres): Promise<void> {
  const open = (t: TestContext, database: string, options: PostgresTestOptions = {}) => openOn(t, [server.target(database)], options);

  testStorageContract('PostgreSQL', async (t, options) => {
    const database = await server.createDatabase();
    let storage = await open(t, database, options);
    return {
      storage,
      async reopen() {
        await storage.close();
        return (storage = await open(t, database, options));
      },
      removed: async () => {},
    };
  });

  describe('several receivers', () => {
    test('store each message once between them, in one order that all of them see', async (t) => {
      const database = await server.createDatabase();
      const receivers = await Promise.all([open(t, database), open(t, database), open(t, database)]);
      const outcomes = await Promise.all(Array.from({ length: 300 }, (_, index) => {
        const receiver = receivers[index % receivers.length] ?? receivers[0];
        return receiver?.append(message({ message_id: `m${index % 100}` }));
      }));
      assert.equal(outcomes.filter((outcome) => outcome === 'stored').length, 100);
      assert.equal(outcomes.filter((outcome) => outcome === 'duplicate').length, 200);
      const orders = await Promise.all(receivers.map(async (receiver) =>
        (await receiver.stored({ after: receiver.beforeAll, limit: 500 })).items.map((item) => item.message.message_id)));
      assert.equal(new Set(orders.map((order) => order.join(' '))).size, 1);
      assert.equal(orders[0]?.length, 100);
      assert.equal(await server.sql('SELECT count(*), (SELECT messages FROM inbox), (SELECT sum(messages) FROM senders) FROM messages', database), '100|100|100');
    });

    test('hear of what another one has stored', async (t) => {
      const database = await server.createDatabase();
      let heard = 0;
      const writer = await open(t, database);
      await open(t, database, { observer: { arrived: () => { heard += 1; } } });
      await waitFor('the first news', () => heard > 0);
      const before = heard;
      await writer.append(message());
      await waitFor('the news', () => heard > before);
    });
  });
}
