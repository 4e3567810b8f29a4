import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { renameSync } from 'node:fs';
import { after, describe, test } from 'node:test';
import { DatabaseSync } from 'node:sqlite';
import { StorageUnavailable, type UnavailableReason } from '../../src/errors.ts';
import { WEBHOOK_RESULTS } from '../../src/observe/metrics.ts';
import { createReadiness } from '../../src/operations/readiness.ts';
import { startTestApp } from '../support/app.ts';
import { waitFor } from '../support/wait.ts';

const app = await startTestApp({ after });

describe('health', () => {
  test('is live and ready', async () => {
    for (const path of ['/health/live', '/health/ready']) {
      const response = await app.get(path);
      assert.deepEqual([response.status, await response.text()], [200, '{"status":"ok"}'], path);
    }
  });

  const reasonsOf = async (url: string): Promise<unknown> => (await (await fetch(`${url}/health/ready`)).json() as { reasons?: unknown }).reasons;

  test('is not ready while another process holds the database, and ready again after', async (t) => {
    const locked = await startTestApp(t);
    const other = new DatabaseSync(locked.databasePath);
    t.after(() => other.close());
    other.exec('BEGIN IMMEDIATE');
    await waitFor('not ready', async () => JSON.stringify(await reasonsOf(locked.url)) === '["the database is locked by another process"]');
    assert.equal((await locked.send()).status, 503);
    assert.equal(await locked.metric('webhook_inbox_ready'), 0);
    other.exec('ROLLBACK');
    await waitFor('ready', async () => (await locked.get('/health/ready')).status === 200);
    assert.equal((await locked.send()).status, 200);
    assert.deepEqual(locked.logs.filter(({ event }) => event === 'ready' || event === 'not_ready').map(({ event }) => event), ['not_ready', 'ready']);
  });

  test('is not ready, and acknowledges nothing, while the database file is gone from its path', async (t) => {
    const moved = await startTestApp(t);
    renameSync(moved.databasePath, `${moved.databasePath}.away`);
    assert.equal((await moved.send()).status, 503);
    await waitFor('not ready', async () => JSON.stringify(await reasonsOf(moved.url)) === '["the database file was removed or replaced"]');
    renameSync(`${moved.databasePath}.away`, moved.databasePath);
    await waitFor('ready', async () => (await moved.get('/health/ready')).status === 200);
  });

  test('notices a storage that does not answer', async (t) => {
    let probes = 0;
    const probe = () => (probes++ === 0 ? Promise.resolve() : new Promise<void>(() => {}));
    const readiness = createReadiness(true, { probe }, () => {});
    t.after(() => readiness.stop());
    await readiness.check();
    readiness.watch();
    assert.deepEqual(readiness.reasons(), []);
    await waitFor('not ready', () => readiness.reasons()[0] === 'the storage does not answer');
    assert.equal(probes, 2);
  });

  test('tells why it is not ready and when that changes', async (t) => {
    let failure: UnavailableReason | undefined = 'the disk is full';
    const events: string[] = [];
    const probe = async () => {
      if (failure !== undefined) throw new StorageUnavailable(failure);
    };
    const readiness = createReadiness(true, { probe }, (_level, event) => events.push(event));
    t.after(() => readiness.stop());
    await readiness.check();
    readiness.watch();
    assert.deepEqual(readiness.reasons(), ['the disk is full']);
    failure = undefined;
    await waitFor('the next check', () => readiness.reasons().length === 0);
    readiness.drain();
    assert.deepEqual(readiness.reasons(), ['shutting down']);
    readiness.stop();
    assert.deepEqual(events, ['not_ready', 'ready']);
  });
});

describe('GET /metrics', () => {
  test('is Prometheus text, with every webhook result from the start', async () => {
    const response = await app.get('/metrics');
    assert.equal(response.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8');
    const text = await response.text();
    for (const result of WEBHOOK_RESULTS) assert.ok(text.includes(`webhook_requests_total{result="${result}"} 0\n`), result);
    assert.ok(text.includes('messages_stored_total 0\n'));
  });

  test('has what an operator needs in an incident', async (t) => {
    const holder = new DatabaseSync(`${app.databasePath}-index`);
    t.after(() => holder.close());
    holder.exec('BEGIN IMMEDIATE');
    // Or else the log may be emptied before it is looked at.
    const reader = new DatabaseSync(app.databasePath, { readOnly: true });
    t.after(() => reader.close());
    reader.exec('BEGIN');
    reader.prepare('SELECT count(*) FROM messages').get();
    await app.send();
    const { headers } = await app.post('not signed', { 'X-Signature': 'x' });
    assert.ok(headers.get('x-request-id'));
    const text = await (await app.get('/metrics')).text();
    for (const series of [
      'http_requests_total{method="POST",route="/webhook",status="200"} 1', 'http_requests_total{method="POST",route="/webhook",status="401"} 1',
      'http_request_duration_seconds_count{route="/webhook"} 2', 'http_connections_refused_total 0',
      'webhook_signature_failures_total{reason="malformed"} 1', 'webhook_signature_failures_total{reason="missing"} 0',
      'webhook_duplicates_total 0', 'webhook_conflicting_duplicates_total 0', 'messages_stored_total 1',
      'storage_queue_depth 0', 'storage_reads_waiting 0', 'message_stream_reads_refused_total 0', 'storage_index_lag_messages 1', 'storage_background_failing{step="checkpoint"} 0', 'storage_batch_messages_count 1', 'storage_commit_duration_seconds_count 1', 'webhook_inbox_ready 1',
      'log_lines_dropped_total 0',
    ]) {
      assert.ok(text.includes(`\n${series}\n`), series);
    }
    for (const name of [
      'message_last_stored_timestamp_seconds', 'database_size_bytes', 'database_wal_size_bytes', 'database_index_size_bytes', 'database_disk_free_bytes',
      'process_cpu_seconds_total', 'process_resident_memory_bytes', 'process_start_time_seconds', 'nodejs_eventloop_lag_p99_seconds',
    ]) {
      assert.ok(Number(new RegExp(`^${name} (.+)$`, 'm').exec(text)?.[1]) > 0, name);
    }
    holder.exec('ROLLBACK');
    await waitFor('the index', async () => await app.metric('storage_index_lag_messages') === 0);
    assert.match(text, /^webhook_inbox_build_info\{version="\d[^"]*",node_version="\d[^"]*",sqlite_version="3[^"]*"\} 1$/m);
  });

  test('is clean under promtool, where that is installed', async (t) => {
    const checked = spawnSync('promtool', ['check', 'metrics'], { input: await (await app.get('/metrics')).text(), encoding: 'utf8' });
    if (checked.error !== undefined) return t.skip('promtool is not installed here');
    assert.deepEqual([checked.status, checked.stdout, checked.stderr], [0, '', '']);
  });

  test('is an empty 404 where metrics are off', async (t) => {
    const quiet = await startTestApp(t, { ENABLE_METRICS: 'false', METRICS_TOKEN: 'not-asked-for-then' });
    const response = await quiet.get('/metrics');
    assert.deepEqual([response.status, await response.text()], [404, '']);
    assert.equal((await quiet.send()).status, 200);
  });
});

test('GET /storage tells which database keeps the messages', async (t) => {
  const app = await startTestApp(t);
  assert.deepEqual(await (await app.get('/storage')).json(), { engine: 'sqlite', version: process.versions['sqlite'], host: null, connected: true });
});
