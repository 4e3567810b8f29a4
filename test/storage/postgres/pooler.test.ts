/** Behind a pooler that gives each transaction any session of the server. */
import assert from 'node:assert/strict';
import { after, describe, test, type TestContext } from 'node:test';
import type { Storage } from '../../../src/storage/storage.ts';
import { message } from '../../support/messages.ts';
import { hasPgbouncer, startPgbouncer } from '../../support/pgbouncer.ts';
import { isInstalled, NOT_INSTALLED, type Postgres, startPostgres, SUPERUSER } from '../../support/postgres.ts';
import { openOn, type PostgresTestOptions } from '../../support/postgres-storage.ts';
import { waitFor } from '../../support/wait.ts';
import { testStorageContract } from '../contract.ts';

const PASSWORD = 'correct horse battery';

if (isInstalled && hasPgbouncer) {
  // Each database of a test has sessions that the pooler keeps.
  const server = await startPostgres({ after }, { password: PASSWORD, settings: { max_connections: '300' } });
  testOn(server, await startPgbouncer({ after }, { port: server.port, passwords: { [SUPERUSER]: PASSWORD } }));
} else {
  test('behind a pooler', { skip: isInstalled ? 'pgbouncer is not installed' : NOT_INSTALLED }, () => {});
}

function testOn(server: Postgres, port: number): void {
  const open = (t: TestContext, database: string, options: PostgresTestOptions = {}): Promise<Storage> =>
    openOn(t, [{ ...server.target(database), host: server.host, port, password: PASSWORD }], options);

  testStorageContract('PostgreSQL behind pgbouncer', async (t, options) => {
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

  describe('behind a pooler', () => {
    test('receivers hear of what others store by looking, as nobody is told there', async (t) => {
      const database = await server.createDatabase();
      await server.sql(`ALTER DATABASE ${database} SET log_statement = 'all'`);
      let heard = 0;
      const warnings: unknown[] = [];
      const writer = await open(t, database);
      await open(t, database, {
        observer: { arrived: () => { heard += 1; }, notice: (_level, event, fields) => { if (event === 'config_warning') warnings.push(fields['warning']); } },
      });
      await waitFor('the warning', () => warnings.some((warning) => String(warning).includes('a pooler is in between')));
      for (let round = 0; round < 2; round += 1) {
        const before = heard;
        // What is stored before its first look is not news.
        await waitFor('the news', async () => {
          await writer.append(message({ message_id: `m${Math.random()}` }));
          return heard > before;
        });
      }
      assert.match(server.log(), /NOTIFY webhook_inbox/);
      assert.doesNotMatch(server.log(), /\bLISTEN\b/);
    });
  });
}
