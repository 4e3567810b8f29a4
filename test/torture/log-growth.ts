import { statSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { percentile, startClosedLoop } from '../support/load.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { waitFor } from '../support/wait.ts';
import { atLeast, atMost, createIds, exactly, startTarget, type Scenario } from './scenario.ts';
import { attachStrace } from './strace.ts';

const MEBIBYTE = 1024 * 1024;
/** The largest that a message can have. */
const LARGE_TEXT = '😀'.repeat(4096);
const LARGE_MESSAGES = 30_000;
/** What the log has at most when it was just emptied, and probes write. */
const SHORT_LOG_BYTES = MEBIBYTE;
const READS = ['/messages?q=Hello', '/messages?since=2020-01-01T00:00:00Z', '/messages?offset=20000', '/stats'];

async function failingCheckpoints(url: string): Promise<boolean> {
  return /^storage_background_failing\{step="checkpoint"\} 1$/m.test(await (await fetch(`${url}/metrics`)).text());
}

export const foreignReader: Scenario = {
  name: `Another program's read, while ${LARGE_MESSAGES} large messages come`,
  async run(scope, progress) {
    const path = join(temporaryFolder(scope), 'app.db');
    const { server, url, port } = await startTarget(scope, { env: { DATABASE_URL: path } });
    const walBytes = () => statSync(`${path}-wal`).size;
    const reader = new DatabaseSync(path, { readOnly: true });
    scope.after(() => reader.close());
    reader.exec('BEGIN; SELECT count(*) FROM messages');

    const load = startClosedLoop(scope, port, 32, createIds('large'), { text: LARGE_TEXT });
    const statuses: number[] = [];
    while (load.sent.length < LARGE_MESSAGES && server.child.exitCode === null) {
      for (const path of READS) statuses.push((await fetch(url + path)).status);
    }
    await load.stop();
    const latencies = load.sent.map(({ latencyMs }) => latencyMs);
    const most = walBytes() / MEBIBYTE;
    progress(`the log has ${Math.round(most)} MiB`);
    const told = await waitFor('the metric', async () => await failingCheckpoints(url));
    const released = performance.now();
    reader.exec('COMMIT');
    await waitFor('a short log', () => walBytes() < SHORT_LOG_BYTES);
    const seconds = (performance.now() - released) / 1000;
    await waitFor('the metric', async () => !await failingCheckpoints(url));
    return [
      exactly('messages not acknowledged', load.sent.filter(({ status }) => status !== 200).length, 0),
      atMost('p99 of an acknowledgement', percentile(latencies, 0.99), 500, ' ms'),
      exactly(`searches and other reads not answered 200, of ${statuses.length}`, statuses.filter((status) => status !== 200).length, 0),
      atLeast('the log at the end', most, 512, ' MiB'),
      exactly('the metric that tells of it', String(told), 'true'),
      atMost('until the log was emptied, once that read had ended', seconds, 10, ' s'),
    ];
  },
};

export const failedCheckpoint: Scenario = {
  name: 'Writes to the database file fail (injected by strace)',
  needs: ['strace'],
  async run(scope, progress) {
    const path = join(temporaryFolder(scope), 'app.db');
    const { server, url, port } = await startTarget(scope, { env: { DATABASE_URL: path } });
    const load = startClosedLoop(scope, port, 4, createIds('eio'));
    const strace = await attachStrace(scope, server.child.pid, ['-P', path, '-e', 'trace=pwrite64', '-e', 'inject=pwrite64:error=EIO']);
    const began = performance.now();
    const line = await server.line('checkpoint_failed');
    const told = (performance.now() - began) / 1000;
    const shown = await waitFor('the metric', async () => await failingCheckpoints(url));
    const statuses = await Promise.all(READS.map(async (read) => (await fetch(url + read)).status));
    progress('writes work again');
    await strace.detach();
    await server.line('checkpoint_recovered');
    await load.stop();
    await waitFor('a short log', () => statSync(`${path}-wal`).size < SHORT_LOG_BYTES);
    const lines = server.lines.filter(({ event }) => String(event).startsWith('checkpoint_')).length;
    return [
      exactly('the line in the log', String(line['reason']), 'the disk reports an error'),
      atMost('until it was there', told, 10, ' s'),
      exactly('the metric that tells of it', String(shown), 'true'),
      exactly('messages not acknowledged meanwhile', load.sent.filter(({ status }) => status !== 200).length, 0),
      exactly('reads not answered 200 meanwhile', statuses.filter((status) => status !== 200).length, 0),
      exactly('lines, of its begin and its end', lines, 2),
    ];
  },
};
