import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { LARGEST_MAX_BODY_BYTES } from '../../src/config/settings.ts';
import { configOf, problemsOf } from '../support/config.ts';

describe('readConfig', () => {
  test('has the defaults of the contract', () => {
    assert.deepEqual(configOf({}), {
      credentials: { webhook: null, readToken: null, metricsToken: null, eraseToken: null, tls: null, database: null, set: [], warnings: [] },
      requireHardened: 'nothing', privateSide: null, allowedHosts: [], tls: null, signatureSchemes: ['x-signature'], signatureToleranceSeconds: 300, database: { kind: 'sqlite', path: '/data/app.db' }, databaseNotify: 'auto', logLevel: 'INFO', metricsEnabled: true, host: '0.0.0.0', port: 8000,
      maxBodyBytes: 65536, maxConnections: 1000, maxStreams: 100, dashboardEnabled: true, headerTimeoutMs: 10_000, requestTimeoutMs: 30_000, idleTimeoutMs: 75_000,
      queryTimeoutMs: 5000, retentionDays: null, dedupDays: 30, shutdownDelayMs: 0, shutdownTimeoutMs: 8000,
    });
  });

  test('keeps messages for so many days, and knows their ids for so many more', () => {
    for (const [environment, days] of [
      [{ RETENTION_DAYS: '1' }, [1, 30]], [{ RETENTION_DAYS: '36500', DEDUP_DAYS: '36500' }, [36_500, 36_500]], [{ DEDUP_DAYS: '0' }, [null, 0]],
    ] as const) {
      const { retentionDays, dedupDays } = configOf(environment);
      assert.deepEqual([retentionDays, dedupDays], days);
    }
    for (const value of ['0', '36501', '-1', '1.5', '']) assert.equal(problemsOf({ RETENTION_DAYS: value }).length, 1, value);
    for (const value of ['36501', '-1', 'x']) assert.equal(problemsOf({ DEDUP_DAYS: value }).length, 1, value);
  });

  test('takes an empty secret as none, and keeps any other to the byte', () => {
    assert.equal(configOf({ WEBHOOK_SECRET: '' }).credentials.webhook, null);
    assert.deepEqual(problemsOf({ WEBHOOK_SECRET: 'a\ufffdb' }), ['WEBHOOK_SECRET must be UTF-8']);
    assert.deepEqual(configOf({ WEBHOOK_SECRET: ' é ' }).credentials.webhook?.current['x-signature'].export(), Buffer.from(' é '));
  });

  test('reads a database path in each of its forms', () => {
    for (const [url, path] of [
      ['/var/lib/app.db', '/var/lib/app.db'], ['app.db', 'app.db'], ['./a b.db', './a b.db'],
      ['file:app.db', 'app.db'], ['file:/data/app.db', '/data/app.db'], ['file:///data/app.db', '/data/app.db'],
      ['file://localhost/data/app.db', '/data/app.db'], ['file:a%20b.db', 'a b.db'],
      ['sqlite:///app.db', 'app.db'], ['sqlite:////data/app.db', '/data/app.db'],
    ] as const) {
      assert.deepEqual(configOf({ DATABASE_URL: url }).database, { kind: 'sqlite', path }, url);
    }
  });

  test('refuses every database that is none, in memory, or has parameters', () => {
    for (const url of [
      '', ':memory:', 'file::memory:', 'sqlite:///:memory:', 'sqlite://', 'sqlite:///', 'file:', 'file:app.db?mode=memory',
      'file:app.db?vfs=unix-none', 'sqlite:///app.db?check_same_thread=false', 'app.db?nolock=1', 'file:a%3Fmode=memory',
      'file:app.db#x', 'file://host/app.db', 'file:%zz', 'file:a%00b', 'postgres://localhost/app', 'sqlite:///file:app.db', 'file:file:app.db', 'sqlite+pysqlite:///app.db', '/data/',
    ]) {
      assert.equal(problemsOf({ DATABASE_URL: url }).length, 1, url);
    }
  });

  test('reads levels and switches in any case', () => {
    assert.equal(configOf({ LOG_LEVEL: 'wArNiNg' }).logLevel, 'WARNING');
    for (const word of ['true', 'TRUE', '1', 'yes', 'on']) assert.equal(configOf({ ENABLE_METRICS: word }).metricsEnabled, true);
    for (const word of ['false', 'False', '0', 'no', 'off']) assert.equal(configOf({ ENABLE_METRICS: word }).metricsEnabled, false);
  });

  test('takes numbers at their bounds and none beyond', () => {
    assert.equal(configOf({ PORT: '0' }).port, 0);
    assert.equal(configOf({ PORT: '65535' }).port, 65535);
    assert.equal(configOf({ MAX_BODY_BYTES: '1' }).maxBodyBytes, 1);
    assert.equal(configOf({ MAX_BODY_BYTES: String(LARGEST_MAX_BODY_BYTES) }).maxBodyBytes, LARGEST_MAX_BODY_BYTES);
    assert.equal(configOf({ IDLE_TIMEOUT_MS: '3600000' }).idleTimeoutMs, 3_600_000);
    assert.equal(problemsOf({ IDLE_TIMEOUT_MS: '3600001' }).length, 1);
    for (const PORT of ['65536', '-1', '+1', '8000.0', '0x10', '1e3', ' 80', '80 ', '٣']) assert.equal(problemsOf({ PORT }).length, 1, PORT);
    for (const MAX_BODY_BYTES of ['0', String(LARGEST_MAX_BODY_BYTES + 1), '9'.repeat(20)]) {
      assert.equal(problemsOf({ MAX_BODY_BYTES }).length, 1, MAX_BODY_BYTES);
    }
  });

  test('takes names of hosts that are none but names', () => {
    assert.deepEqual(configOf({ ALLOWED_HOSTS: 'Inbox.Example.com' }).allowedHosts, ['inbox.example.com']);
    assert.deepEqual(configOf({ ALLOWED_HOSTS: ' a.example.com ,.example.org,b_1.example-2.net' }).allowedHosts, ['a.example.com', '.example.org', 'b_1.example-2.net']);
    for (const ALLOWED_HOSTS of ['', ',', 'a.example.com,', '*', '*.example.com', 'a.example.com:8000', 'https://a.example.com', 'a.example.com/', 'a b', '.', 'a..b', '[::1]', 'é.example.com']) {
      assert.equal(problemsOf({ ALLOWED_HOSTS }).length, 1, ALLOWED_HOSTS);
    }
  });

  test('names every problem at once, and no value', () => {
    const canary = 'canary-4711';
    const names = ['DATABASE_URL', 'DATABASE_NOTIFY', 'LOG_LEVEL', 'ENABLE_METRICS', 'ENABLE_DASHBOARD', 'PORT', 'PRIVATE_PORT', 'ALLOWED_HOSTS', 'SIGNATURE_SCHEMES', 'SIGNATURE_TOLERANCE_SECONDS', 'REQUIRE_HARDENED', 'MAX_BODY_BYTES', 'MAX_CONNECTIONS', 'MAX_STREAMS', 'HEADER_TIMEOUT_MS',
      'REQUEST_TIMEOUT_MS', 'IDLE_TIMEOUT_MS', 'QUERY_TIMEOUT_MS', 'SHUTDOWN_DELAY_MS', 'SHUTDOWN_TIMEOUT_MS', 'READ_TOKEN', 'METRICS_TOKEN'];
    const problems = problemsOf(Object.fromEntries(names.map((name) => [name, `${canary}:?`])));
    assert.deepEqual(problems.map((problem) => problem.split(' ')[0]), names);
    assert.ok(!problems.join().includes(canary));
  });

  test('takes a variable that is set but empty as a mistake', () => {
    assert.deepEqual(problemsOf({ PORT: '' }), ['PORT is set but empty: it must be a whole number from 0 to 65535']);
    assert.deepEqual(problemsOf({ HOST: '' }).length, 1);
  });
});
