/** Sessions on a real, throw-away PostgreSQL. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { connect as connectTcp, createServer as createTcpServer, type AddressInfo } from 'node:net';
import { after, before, describe, test, type TestContext } from 'node:test';
import { connect as connectTls, TLSSocket, createSecureContext } from 'node:tls';
import { inspect } from 'node:util';
import { connect, type Connection, type ConnectOptions, type Target } from '../../../src/storage/postgres/connection.ts';
import { ConnectionFailed, PostgresError } from '../../../src/storage/postgres/failures.ts';
import { encodeSslRequest } from '../../../src/storage/postgres/protocol.ts';
import { type Certificate, hasOpenssl, issueCertificate, makeCertificate } from '../../support/certificates.ts';
import { isInstalled, NOT_INSTALLED, startPostgres, SUPERUSER, type Postgres } from '../../support/postgres.ts';
import { temporaryFolder, type Scope } from '../../support/temporary.ts';
import { PATIENCE_MS, waitFor } from '../../support/wait.ts';

const PASSWORD = 'correct horse battery';
const OTHER_LOOPBACK = '127.0.0.2';
const pem = (path: string) => readFileSync(path, 'utf8');

describe('a connection to PostgreSQL', { skip: (!isInstalled && NOT_INSTALLED) || (!hasOpenssl && 'openssl is not installed') }, () => {
  let server: Postgres;
  let database: string;
  let certificates: Record<'server' | 'other' | 'certified', Certificate>;

  const cleanUps: (() => void | Promise<void>)[] = [];
  /** Of the file: what `before` handed to node:test itself would end with it. */
  const scope: Scope = { after: (cleanUp) => void cleanUps.push(cleanUp) };
  after(async () => {
    for (const cleanUp of cleanUps) await cleanUp();
  });

  before(async () => {
    const folder = temporaryFolder(scope);
    const ca = makeCertificate(folder, 'server');
    certificates = { server: ca, other: makeCertificate(folder, 'other'), certified: issueCertificate(folder, 'certified', ca) };
    server = await startSecure(scope, ca);
    database = await server.createDatabase();
    await server.sql('CREATE TABLE kept (id integer PRIMARY KEY, text text)', database);
    await server.sql('CREATE ROLE certified LOGIN; CREATE ROLE trusted LOGIN; CREATE ROLE clear LOGIN PASSWORD \'x\'');
    await server.sql('SET password_encryption = md5; CREATE ROLE hashed LOGIN PASSWORD \'x\'');
  });

  const startSecure = (its: Scope, { certificate, key }: Certificate) => startPostgres(its, {
    password: PASSWORD,
    settings: {
      ssl: 'on', ssl_cert_file: 'server.pem', ssl_key_file: 'server.key', ssl_ca_file: 'server.pem',
      listen_addresses: `127.0.0.1,${OTHER_LOOPBACK}`,
    },
    files: { 'server.pem': certificate, 'server.key': key },
    hba: [
      'hostssl all certified 127.0.0.1/32 cert', 'host all trusted 127.0.0.1/32 trust', 'host all clear 127.0.0.1/32 password',
      'host all hashed 127.0.0.1/32 md5', `host all all ${OTHER_LOOPBACK}/32 scram-sha-256`,
    ],
  });

  const tls = (ca = certificates.server, identity: Certificate | null = null) => ({
    ca: pem(ca.certificate), identity: identity && { certificate: pem(identity.certificate), key: pem(identity.key) },
  });

  async function open(t: TestContext, target: Partial<Target> = {}, options: Partial<ConnectOptions> = {}): Promise<Connection> {
    const { host, port } = server;
    const connection = await connect(
      { host, port, tls: null, user: SUPERUSER, database, password: PASSWORD, ...target }, { timeoutMs: PATIENCE_MS, ...options },
    );
    t.after(() => connection.close());
    return connection;
  }
  const run = (connection: Connection, ...sqls: readonly string[]) => connection.run(sqls.map((sql) => ({ sql })), PATIENCE_MS);
  const isWorking = async (connection: Connection) => {
    const { results: [result] } = await run(connection, 'SELECT 1 AS one');
    return result?.rows[0]?.['one'] === '1';
  };
  const refusedLogin = (t: TestContext, target: Partial<Target>, expected: object) => assert.rejects(open(t, target), (error) => {
    assert.ok(!inspect(error, { depth: 9 }).includes(PASSWORD));
    assert.partialDeepStrictEqual({ ...Object(error), name: Object(error).name, message: Object(error).message }, expected);
    return true;
  });

  describe('is made', () => {
    test('over TCP on loopback, over a Unix socket, and over TLS by name and by address', async (t) => {
      const overTls: Partial<Target>[] = [{ host: 'localhost', tls: tls() }, { tls: tls() }];
      const ways: Partial<Target>[] = [{}, { host: server.socketFolder, password: null }, ...overTls];
      for (const way of ways) {
        const connection = await open(t, way);
        assert.ok(await isWorking(connection));
        const { results } = await run(connection, 'SELECT ssl::text, pid::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()');
        assert.deepEqual(results[0]?.rows, [{ ssl: String(way.tls !== undefined), pid: String(connection.processId) }]);
        assert.match(connection.parameters.get('server_version') ?? '', /^\d\d/);
      }
    });

    test('by a client certificate, without a password', async (t) => {
      const connection = await open(t, { user: 'certified', password: null, tls: tls(certificates.server, certificates.certified) });
      assert.ok(await isWorking(connection));
      await refusedLogin(t, { user: 'certified', tls: tls() }, { name: 'PostgresError', sqlstate: '28000' });
    });

    test('where the server asks this machine for nothing', async (t) => {
      assert.ok(await isWorking(await open(t, { user: 'trusted', password: null })));
    });

    test('with each password that the server can store', async (t) => {
      const passwords = [
        'a', 'a,b=c', 'x'.repeat(500), 'grüße', 'e\u0301', '日本語\uff21', '\u2168\u00ad', 'a\u00a0b',
        '\u2168\u{1f600}', 'tab\t\u2168', '\u0627\u0031', '\u05d0\ufb01\u05d1',
      ];
      for (const [index, password] of passwords.entries()) {
        await server.sql(`CREATE ROLE prepared_${index} LOGIN PASSWORD '${password}'`);
        assert.ok(await isWorking(await open(t, { user: `prepared_${index}`, password })), JSON.stringify(password));
      }
    });

    test('without binding where nobody agrees on the hash of the certificate', async (t) => {
      const folder = temporaryFolder(t);
      const certificate = makeCertificate(folder, 'ed25519', 2, ['-newkey', 'ed25519', '-nodes']);
      const { host, port } = await startSecure(t, certificate);
      assert.ok(await isWorking(await open(t, { host, port, database: SUPERUSER, tls: tls(certificate) })));
    });
  });

  describe('is refused', () => {
    test('where the certificate is of another authority or another name', async (t) => {
      const refused = (target: Partial<Target>, code: string) =>
        refusedLogin(t, target, { name: 'ConnectionFailed', message: `TLS: ${code}` });
      await refused({ tls: tls(certificates.other) }, 'DEPTH_ZERO_SELF_SIGNED_CERT');
      await refused({ tls: { ca: null, identity: null } }, 'DEPTH_ZERO_SELF_SIGNED_CERT');
      await refused({ host: OTHER_LOOPBACK, tls: tls() }, 'ERR_TLS_CERT_ALTNAME_INVALID');
    });

    test('where its own certificate or key is of no use', async (t) => {
      const identity = { certificate: 'none', key: 'none' };
      await assert.rejects(open(t, { tls: { ...tls(), identity } }), { name: 'ConnectionFailed', message: /^TLS: ERR_/ });
      const stranger = tls(certificates.server, certificates.other);
      await assert.rejects(open(t, { user: 'certified', tls: stranger }), ConnectionFailed);
    });

    test('where the server asks for a password in clear or by MD5', async (t) => {
      await assert.rejects(open(t, { user: 'clear' }), { name: 'LoginRefused', message: /in clear/ });
      await assert.rejects(open(t, { user: 'hashed' }), { name: 'LoginRefused', message: /MD5/ });
      await assert.rejects(open(t, { password: null }), { name: 'LoginRefused', message: /DATABASE_PASSWORD/ });
    });

    test('with a wrong password, by an unknown user and for an unknown database', async (t) => {
      await refusedLogin(t, { password: `not ${PASSWORD}` }, { name: 'PostgresError', sqlstate: '28P01', severity: 'FATAL' });
      await refusedLogin(t, { user: 'nobody' }, { name: 'PostgresError', sqlstate: '28P01' });
      await refusedLogin(t, { database: 'nowhere' }, { name: 'PostgresError', sqlstate: '3D000' });
      await assert.rejects(open(t, { database: 'a\0b' }), TypeError);
    });

    test('where nobody listens, and where no such socket or name is', async (t) => {
      const free = createTcpServer().listen(0, '127.0.0.1');
      await waitFor('a port', () => free.listening);
      const { port } = free.address() as AddressInfo;
      await new Promise((resolve) => free.close(resolve));
      await refusedLogin(t, { port }, { name: 'ConnectionFailed', message: 'connecting: ECONNREFUSED', isOutcomeUnknown: false });
      await refusedLogin(t, { host: '/nowhere' }, { name: 'ConnectionFailed', message: 'connecting: ENOENT' });
      await assert.rejects(open(t, { host: 'nowhere.invalid' }), { name: 'ConnectionFailed', message: /^connecting: E/ });
    });

    test('by the server where somebody between has a certificate that is trusted too: the login is bound to the other one', async (t) => {
      const between = await startBetween(t, server, certificates.other);
      const trusted = { ca: `${pem(certificates.server.certificate)}\n${pem(certificates.other.certificate)}`, identity: null };
      assert.ok(await isWorking(await open(t, { tls: trusted })));
      await refusedLogin(t, { port: between, tls: trusted }, { name: 'PostgresError', sqlstate: '28000' });
    });
  });

  describe('runs', () => {
    test('statements in one write, with parameters and results of each', async (t) => {
      const connection = await open(t);
      const { results, warnings } = await connection.run([
        { sql: 'BEGIN' },
        {
          sql: 'INSERT INTO kept SELECT id, text FROM json_to_recordset($1::json) AS given (id integer, text text)',
          parameters: ['[{"id":1,"text":"grüße 😀"},{"id":2}]'],
        },
        { sql: 'SELECT id, text, $1::text IS NULL AS missing FROM kept ORDER BY id', parameters: [null] },
        { sql: 'DELETE FROM kept' }, { sql: '' }, { sql: 'COMMIT' },
      ], PATIENCE_MS);
      assert.deepEqual(results, [
        { command: 'BEGIN', rows: [], affected: 0 }, { command: 'INSERT', rows: [], affected: 2 },
        { command: 'SELECT', rows: [{ id: '1', text: 'grüße 😀', missing: 't' }, { id: '2', text: null, missing: 't' }], affected: 2 },
        { command: 'DELETE', rows: [], affected: 2 }, { command: '', rows: [], affected: 0 }, { command: 'COMMIT', rows: [], affected: 0 },
      ]);
      assert.deepEqual(warnings, []);
      assert.deepEqual(await run(connection), { results: [], warnings: [] });
    });

    test('nothing after an error, undoes what it left open, and goes on', async (t) => {
      const connection = await open(t);
      const secret = 'a secret text';
      const failing = connection.run([
        { sql: 'BEGIN' }, { sql: 'INSERT INTO kept VALUES (1)' }, { sql: 'SELECT $1::integer', parameters: [secret] },
        { sql: 'INSERT INTO kept VALUES (2)' }, { sql: 'COMMIT' },
      ], PATIENCE_MS);
      await assert.rejects(failing, (error) => {
        assert.ok(error instanceof PostgresError);
        assert.deepEqual([error.sqlstate, error.severity, error.message], ['22P02', 'ERROR', 'PostgreSQL reported ERROR 22P02']);
        assert.ok(!inspect(error, { depth: 9, showHidden: true, getters: false }).includes(secret));
        return true;
      });
      const { results: [count], warnings } = await run(connection, 'SELECT count(*) FROM kept');
      assert.deepEqual([count?.rows, warnings], [[{ count: '0' }], []]);
      assert.deepEqual((await run(connection, 'ROLLBACK')).warnings.map(({ sqlstate }) => sqlstate), ['25P01']);
    });

    test('no statements that leave a transaction open', async (t) => {
      const connection = await open(t);
      await assert.rejects(run(connection, 'BEGIN', 'INSERT INTO kept VALUES (1)'), /leave a transaction open/);
      const { results: [count] } = await run(connection, 'SELECT count(*) FROM kept');
      assert.deepEqual(count?.rows, [{ count: '0' }]);
    });

    test('one thing at a time', async (t) => {
      const connection = await open(t);
      const first = run(connection, 'SELECT 1');
      await assert.rejects(run(connection, 'SELECT 2'), { name: 'Error', message: /one thing at a time/ });
      await first;
      await assert.rejects(run(connection, 'SELECT \0'), TypeError);
      assert.ok(await isWorking(connection));
    });

    test('with what the server warns of, and not with its other notices', async (t) => {
      const warning = 'RAISE WARNING \'careful\' USING ERRCODE = \'01004\', DETAIL = \'secret\'';
      const { warnings } = await run(await open(t), `DO $$ BEGIN RAISE NOTICE 'heard'; ${warning}; END $$`);
      assert.deepEqual(warnings, [{ sqlstate: '01004', message: 'careful' }]);
    });

    test('and hears of notifications meanwhile and in between', async (t) => {
      const heard: string[][] = [];
      const connection = await open(t, {}, { notified: (...args) => void heard.push(args) });
      await run(connection, 'LISTEN stored', 'NOTIFY stored, \'own\'');
      assert.deepEqual(heard, [['stored', 'own']]);
      await server.sql('NOTIFY stored, \'of another\'; NOTIFY other', database);
      await waitFor('the second', () => heard.length === 2);
      assert.deepEqual(heard[1], ['stored', 'of another']);
    });

    test('with settings that it reports kept up to date', async (t) => {
      const connection = await open(t);
      assert.equal(connection.parameters.get('default_transaction_read_only'), 'off');
      await run(connection, 'SET default_transaction_read_only = on');
      assert.equal(connection.parameters.get('default_transaction_read_only'), 'on');
    });
  });

  describe('ends', () => {
    const outcomeUnknown = { name: 'ConnectionFailed', isOutcomeUnknown: true };
    const waitsFor = (connection: Connection, event: string) => waitFor(event, async () =>
      await server.sql(`SELECT wait_event FROM pg_stat_activity WHERE pid = ${connection.processId}`) === event);
    const isGone = async (connection: Connection) =>
      await server.sql(`SELECT count(*) FROM pg_stat_activity WHERE pid = ${connection.processId}`) === '0';

    async function isEnded(connection: Connection): Promise<void> {
      assert.ok(await connection.closed instanceof ConnectionFailed);
      await assert.rejects(run(connection, 'SELECT 1'), { name: 'ConnectionFailed', isOutcomeUnknown: false });
      await waitFor('the end of its process', () => isGone(connection));
    }

    test('when it is closed, once or twice, also during a run', async (t) => {
      const connection = await open(t);
      await Promise.all([connection.close(), connection.close()]);
      await isEnded(connection);
      const busy = await open(t);
      const failing = assert.rejects(run(busy, 'SELECT pg_sleep(0.2)'), outcomeUnknown);
      await busy.close();
      await failing;
      await isEnded(busy);
    });

    test('when a run is not done in time', async (t) => {
      const connection = await open(t);
      const begin = performance.now();
      await assert.rejects(connection.run([{ sql: 'SELECT pg_sleep(2)' }], 100), { ...outcomeUnknown, message: /in time/ });
      assert.ok(performance.now() - begin < 1800);
      await isEnded(connection);
    });

    test('when its process is ended, idle or during a run', async (t) => {
      const idle = await open(t);
      await server.sql(`SELECT pg_terminate_backend(${idle.processId})`);
      assert.match((await idle.closed).message, /57P01/);
      await isEnded(idle);
      const busy = await open(t);
      const running = run(busy, 'BEGIN', 'INSERT INTO kept VALUES (1)', 'SELECT pg_sleep(60)', 'COMMIT');
      const failing = assert.rejects(running, { ...outcomeUnknown, message: 'PostgreSQL reported FATAL 57P01' });
      await waitsFor(busy, 'PgSleep');
      await server.sql(`SELECT pg_terminate_backend(${busy.processId})`);
      await failing;
      await isEnded(busy);
      assert.equal(await server.sql('SELECT count(*) FROM kept', database), '0');
    });

    test('when its process is ended while a commit waits for a standby; where only the wait is, it is warned', async (t) => {
      const commit = async (connection: Connection, id: number, cutShort: string) => {
        const cut = async () => {
          await waitsFor(connection, 'SyncRep');
          await server.sql(`SELECT ${cutShort}(${connection.processId})`);
        };
        const [committed] = await Promise.all([run(connection, 'BEGIN', `INSERT INTO kept VALUES (${id})`, 'COMMIT'), cut()]);
        return committed;
      };
      await server.sql('ALTER SYSTEM SET synchronous_standby_names = \'nobody\'');
      await server.sql('SELECT pg_reload_conf()');
      const connection = await open(t);
      const { results, warnings } = await commit(connection, 71, 'pg_cancel_backend');
      assert.deepEqual([results.at(-1)?.command, warnings.map(({ sqlstate }) => sqlstate)], ['COMMIT', ['01000']]);
      await assert.rejects(commit(connection, 72, 'pg_terminate_backend'), outcomeUnknown);
      await server.sql('ALTER SYSTEM RESET synchronous_standby_names');
      await server.sql('SELECT pg_reload_conf()');
      await isEnded(connection);
      assert.equal(await server.sql('DELETE FROM kept RETURNING id', database), '71\n72');
    });

    test('when the session may only read', async (t) => {
      const reader = await open(t);
      const writing = run(reader, 'BEGIN READ ONLY', 'INSERT INTO kept VALUES (1)', 'COMMIT');
      await assert.rejects(writing, { name: 'PostgresError', sqlstate: '25006' });
      await isEnded(reader);
    });

    test('when the server wants to copy', async (t) => {
      for (const sql of ['COPY kept FROM STDIN', 'COPY kept TO STDOUT']) {
        const connection = await open(t);
        await assert.rejects(run(connection, sql, 'SELECT 1'), { name: 'ConnectionFailed', message: /never asked for/ });
        await isEnded(connection);
      }
    });

    test('when there is more than is taken: of one row, of all, of many that are empty, of notices', async (t) => {
      const tooMuch = [
        'SELECT repeat(\'x\', 17 * 1024 * 1024)', 'SELECT repeat(\'x\', 15 * 1024 * 1024) FROM generate_series(1, 5)',
        'SELECT FROM generate_series(1, 2000000)',
        'DO $$ BEGIN FOR count IN 1..1001 LOOP RAISE WARNING \'w\'; END LOOP; END $$',
      ];
      for (const sql of tooMuch) {
        const connection = await open(t);
        await assert.rejects(run(connection, sql), { name: 'ConnectionFailed' }, sql);
        await isEnded(connection);
      }
    });

    test('when the server is frozen, by the deadline of each that waits', async (t) => {
      const connection = await open(t);
      const secure = { tls: tls() };
      server.freeze();
      t.after(() => server.thaw());
      await Promise.all([
        assert.rejects(connection.run([{ sql: 'BEGIN' }, { sql: 'COMMIT' }], 200), { ...outcomeUnknown, message: /in time/ }),
        assert.rejects(open(t, {}, { timeoutMs: 200 }), { name: 'ConnectionFailed', message: /in time/ }),
        assert.rejects(open(t, secure, { timeoutMs: 200 }), { name: 'ConnectionFailed', message: /asking for TLS: .*in time/ }),
      ]);
      server.thaw();
      await isEnded(connection);
      assert.ok(await isWorking(await open(t)));
    });

    test('when the server is killed or started again', async (t) => {
      const killed = await open(t);
      const failing = assert.rejects(run(killed, 'SELECT pg_sleep(60)'), ConnectionFailed);
      await waitsFor(killed, 'PgSleep');
      await server.kill();
      await failing;
      await server.restart();
      const restarted = await open(t);
      await server.restart();
      assert.match((await restarted.closed).message, /57P01/);
      assert.ok(await isWorking(await open(t)));
    });
  });
});

/** Somebody between client and server, who does TLS with both: the port of it. */
async function startBetween(t: TestContext, server: Postgres, { certificate, key }: Certificate): Promise<number> {
  const secureContext = createSecureContext({ cert: pem(certificate), key: pem(key) });
  const between = createTcpServer((socket) => {
    const upstream = connectTcp(server.port, server.host);
    t.after(() => {
      socket.destroy();
      upstream.destroy();
    });
    for (const side of [socket, upstream]) side.on('error', () => {});
    upstream.write(encodeSslRequest());
    socket.once('data', () => upstream.once('data', (answer) => {
      socket.write(answer);
      const near = new TLSSocket(socket, { isServer: true, secureContext });
      const far = connectTls({ socket: upstream, rejectUnauthorized: false });
      for (const side of [near, far]) side.on('error', () => {});
      near.pipe(far).pipe(near);
    }));
  }).listen(0, '127.0.0.1');
  t.after(() => void between.close());
  await waitFor('who stands between', () => between.listening);
  return (between.address() as AddressInfo).port;
}
