/** Whose tables a receiver takes, and what it says of a server or a database that somebody has to change first. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { inspect, promisify } from 'node:util';
import { StartRefused } from '../../../src/errors.ts';
import type { Target } from '../../../src/storage/postgres/connection.ts';
import { CREATE_TABLES, CREATE_TEXT_INDEX } from '../../../src/storage/postgres/schema.ts';
import { freePort } from '../../support/free-port.ts';
import { message } from '../../support/messages.ts';
import { binaries, isInstalled, NOT_INSTALLED, type Postgres, startPostgres, SUPERUSER } from '../../support/postgres.ts';
import { appendSurely, openOn, openOnAtOnce } from '../../support/postgres-storage.ts';
import { startProxy } from '../../support/proxy.ts';
import { CHECKOUT } from '../../support/server-process.ts';
import type { Scope } from '../../support/temporary.ts';
import { waitFor } from '../../support/wait.ts';

const PASSWORD = 'correct horse battery';
const SCHEMA_FILE = join(CHECKOUT, 'scripts/postgres/schema.sql');
const schema = readFileSync(SCHEMA_FILE, 'utf8');

if (isInstalled) {
  const server = await startPostgres({ after }, { password: PASSWORD });
  describe('the tables', () => testTables(server));
  describe('a start', () => testStart(server));
} else {
  test('the tables', { skip: NOT_INSTALLED }, () => {});
}

test('the file for an owner has the statements of the tables, and no other', () => {
  const statements = schema.replace(/^--.*\n/gm, '').trim().split(/;\n+|;$/);
  assert.equal(statements.pop(), '');
  assert.deepEqual(statements, [...CREATE_TABLES, ...CREATE_TEXT_INDEX]);
});

function testTables(server: Postgres): void {
  test('are made once, however many receivers start at the same time', async (t) => {
    for (let round = 0; round < 4; round += 1) {
      const target = server.target(await server.createDatabase());
      const storages = await Promise.all(Array.from({ length: 4 }, () => openOn(t, [target])));
      const outcomes = await Promise.all(storages.map((storage) => appendSurely(storage, message())));
      assert.ok(outcomes.filter((outcome) => outcome !== 'duplicate').length <= 1);
      assert.equal(new Set(storages.map(({ generation }) => generation)).size, 1);
      await Promise.all(storages.map((storage) => storage.close()));
    }
  });

  test('of a dump that was loaded again are others: no position of what it does not have holds, whatever came since', async (t) => {
    const target = server.target(await server.createDatabase());
    const before = await openOn(t, [target]);
    await appendSurely(before, message({ message_id: 'in the dump' }));
    const { generation } = before;
    const kept = await before.newestSequence();
    const { stdout: dump } = await promisify(execFile)(join(binaries ?? '', 'pg_dump'), ['--inserts', '--host', server.socketFolder, '--port', String(server.port), '--username', SUPERUSER, target.database]);
    await appendSurely(before, message({ message_id: 'lost' }));
    const lost = await before.newestSequence();
    await before.close();

    const restored = server.target(await server.createDatabase());
    await server.sql(dump.replace(/^\\(?:un)?restrict.*\n/gm, ''), restored.database);
    const after = await openOn(t, [restored]);
    for (let index = 0; index < 3; index += 1) await appendSurely(after, message({ message_id: `new ${index}` }));
    assert.deepEqual([await after.holds({ generation, sequence: kept }), await after.holds({ generation, sequence: lost })], [true, false]);
    assert.notEqual(after.generation, generation);
    const again = await openOn(t, [restored]);
    assert.equal(again.generation, after.generation);
  });

  test('may be those that an owner has made, for a user who may only read and write them', async (t) => {
    const database = await server.createDatabase();
    await server.sql(schema, database);
    const [grants = ''] = /GRANT [^;]+;/.exec(schema) ?? [];
    await server.sql(`CREATE ROLE receiver LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC; ${grants}`, database);
    const storage = await openOn(t, [{ ...server.target(database), user: 'receiver' }]);
    assert.equal(await storage.append(message()), 'stored');
    assert.equal(await storage.append(message({ text: 'other' })), 'conflicting_duplicate');
    assert.deepEqual((await storage.list({ limit: 1, offset: 0, q: 'HELL' })).items, [message()]);
    await storage.probe();
    assert.ok(((await storage.sizes()).databaseBytes ?? 0) > 0);
  });

  test('that another version has changed meanwhile are neither written nor read', async (t) => {
    const database = await server.createDatabase();
    const storage = await openOn(t, [server.target(database)]);
    await appendSurely(storage, message());
    await server.sql('UPDATE inbox SET schema_version = 2', database);
    const isRefused = { reason: 'the tables are of another version' };
    await assert.rejects(storage.append(message({ message_id: 'm2' })), isRefused);
    await assert.rejects(storage.append(message()), isRefused);
    const reads = await Promise.allSettled([
      storage.list({ limit: 1, offset: 0 }), storage.list({ limit: 1, offset: 0, q: 'x' }), storage.stats(), storage.newestSequence(),
      storage.stored({ after: storage.beforeAll, limit: 1 }), storage.arrivals(0), storage.holds({ generation: storage.generation }),
    ]);
    for (const read of reads) assert.equal(read.status === 'rejected' && read.reason.reason, isRefused.reason);
    assert.equal(await server.sql('SELECT count(*), (SELECT newest FROM inbox) FROM messages', database), '1|1');
    await assert.rejects(openOnAtOnce(t, [server.target(database)]), { name: 'StartRefused', message: /schema 2/ });
    await server.sql('UPDATE inbox SET schema_version = 1', database);
    await appendSurely(storage, message({ message_id: 'm2' }));
  });

  test('serve whatever a user has by default', async (t) => {
    const database = await server.createDatabase();
    for (const setting of [
      "default_transaction_isolation = 'serializable'", 'standard_conforming_strings = off', 'client_min_messages = error', "DateStyle = 'German'",
    ]) await server.sql(`ALTER DATABASE ${database} SET ${setting}`);
    const receivers = await Promise.all([openOn(t, [server.target(database)]), openOn(t, [server.target(database)])]);
    // Batch after batch, each against one of the other.
    await Promise.all(receivers.map(async (storage, receiver) => {
      for (let index = 0; index < 75; index += 1) await storage.append(message({ message_id: `${receiver} ${index}` }));
    }));
    assert.equal((await receivers[0]?.list({ limit: 1, offset: 0, since: '2025-01-15T10:00:00' }))?.total, 150);
  });
}

function testStart(server: Postgres): void {
  const overTcp = (changes: Partial<Target>): Target =>
    ({ ...server.target(SUPERUSER), host: server.host, password: PASSWORD, ...changes });

  async function isRefused(scope: Scope, target: Target, problem: RegExp): Promise<void> {
    // A start waits no longer than a moment; on a busy machine that may be too short.
    const error = await waitFor('the refusal', () => openOnAtOnce(scope, [target]).then(() => undefined, (refusal: unknown) => ({ refusal })));
    assert.ok(error.refusal instanceof StartRefused, inspect(error));
    assert.match(error.refusal.message, problem);
    assert.match(error.refusal.message, /^DATABASE_URL: /);
    assert.ok(!inspect(error, { depth: 9, showHidden: true }).includes(PASSWORD));
  }

  test('is refused with a wrong password, without a password, by an unknown user and for an unknown database', async (t) => {
    await isRefused(t, overTcp({ password: `not ${PASSWORD}` }), /password authentication failed/);
    await isRefused(t, overTcp({ password: null }), /DATABASE_PASSWORD/);
    await isRefused(t, overTcp({ user: 'nobody' }), /password authentication failed/);
    await isRefused(t, overTcp({ database: 'nowhere' }), /"nowhere" does not exist/);
  });

  test('is refused to a user who may not make tables, or not use those that are there', async (t) => {
    const database = await server.createDatabase();
    await server.sql('CREATE ROLE guest LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC', database);
    const target = { ...server.target(database), user: 'guest' };
    await isRefused(t, target, /scripts\/postgres\/schema\.sql/);
    await server.sql(schema, database);
    await isRefused(t, target, /GRANT/);
  });

  test('is refused where a table of another program has the name', async (t) => {
    for (const table of ['messages', 'inbox']) {
      const database = await server.createDatabase();
      await server.sql(`CREATE TABLE ${table}(a integer)`, database);
      await isRefused(t, server.target(database), new RegExp(`a table ${table} that is not of this service`));
      assert.equal(await server.sql(`SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace`, database), '1');
    }
  });

  test('is refused where texts are not kept in UTF-8', async (t) => {
    for (const encoding of ['SQL_ASCII', 'LATIN1']) {
      const database = `in_${encoding.toLowerCase()}`;
      await server.sql(`CREATE DATABASE ${database} ENCODING ${encoding} LOCALE 'C' TEMPLATE template0`);
      await isRefused(t, server.target(database), /UTF-?8/);
    }
  });

  test('is refused where a commit is not safe from a power cut', async (t) => {
    const database = await server.createDatabase();
    for (const setting of ['fsync', 'full_page_writes']) {
      await server.set(setting, 'off');
      await isRefused(t, server.target(database), new RegExp(`${setting} off.*turn it on`));
      await server.set(setting, 'on');
    }
  });

  test('is refused without a synchronous standby where one is required', async (t) => {
    const target = server.target(await server.createDatabase());
    await assert.rejects(openOnAtOnce(t, [target], { requiresStandby: true }), { name: 'StartRefused', message: /synchronous_standby_names/ });
  });

  test('ends at once where it is connecting as it is asked to', async (t) => {
    const server = await startPostgres(t);
    const database = await server.createDatabase();
    server.freeze();
    const storage = await openOnAtOnce(t, [server.target(database)]);
    const closed = storage.close();
    server.thaw();
    await closed;
    await waitFor('the end of all sessions', async () =>
      await server.sql(`SELECT count(*) FROM pg_stat_activity WHERE datname = '${database}'`) === '0');
  });

  test('goes on where no server is there yet, which it finds by itself', async (t) => {
    const database = await server.createDatabase();
    const port = await freePort();
    const storage = await openOnAtOnce(t, [overTcp({ port, database })]);
    await assert.rejects(storage.append(message()), { reason: 'PostgreSQL does not answer' });
    await assert.rejects(storage.stats(), { reason: 'PostgreSQL does not answer' });
    await assert.rejects(storage.probe(), { reason: 'PostgreSQL does not answer' });
    assert.deepEqual(await storage.sizes(), { databaseBytes: undefined, walBytes: undefined, indexBytes: undefined, freeDiskBytes: undefined });
    await startProxy(t, port, server.port);
    await appendSurely(storage, message());
    await storage.probe();
  });
}
