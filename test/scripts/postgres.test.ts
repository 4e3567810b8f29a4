/** What `scripts/postgres/docker-compose.yml` starts, with the same files, as processes of this machine. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { Agent } from 'node:http';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { hasOpenssl } from '../support/certificates.ts';
import { freePort } from '../support/free-port.ts';
import { makeCredentials, startInboxDatabase } from '../support/inbox-database.ts';
import { message, sign } from '../support/messages.ts';
import { isInstalled, type Postgres } from '../support/postgres.ts';
import { ask } from '../support/request.ts';
import { CHECKOUT, startServerProcess } from '../support/server-process.ts';
import { temporaryFolder, type Scope } from '../support/temporary.ts';
import { waitFor } from '../support/wait.ts';

const FOLDER = join(CHECKOUT, 'scripts/postgres');
const SENDERS = 8;
const hasHaproxy = spawnSync('haproxy', ['-v']).status === 0;
const skip = !(isInstalled && hasOpenssl && hasHaproxy) && 'PostgreSQL, openssl or haproxy is not installed';
const shipped = (name: string) => readFileSync(join(FOLDER, name), 'utf8');

function startReceiver(scope: Scope, credentials: string, postgres: Postgres, port: number) {
  const [, url = ''] = /DATABASE_URL: (.*)/.exec(shipped('docker-compose.yml')) ?? [];
  const [, delayMs = ''] = /SHUTDOWN_DELAY_MS: "(\d+)"/.exec(shipped('docker-compose.yml')) ?? [];
  const folder = join(credentials, 'receiver');
  return startServerProcess(scope, {
    env: {
      DATABASE_URL: url.replace('@database/', `@localhost:${postgres.port}/`).replace('/run/secrets', folder),
      DATABASE_PASSWORD_FILE: join(folder, 'database-password'), WEBHOOK_SECRET_FILE: join(folder, 'webhook-secret'), SHUTDOWN_DELAY_MS: delayMs,
      PORT: String(port),
    },
  });
}

/** The proxy as shipped, but for its addresses. */
async function startProxy(scope: Scope, receivers: readonly number[]): Promise<string> {
  const port = await freePort();
  const file = join(temporaryFolder(scope), 'haproxy.cfg');
  const text = shipped('haproxy.cfg').replace('bind :8000', `bind 127.0.0.1:${port}`);
  writeFileSync(file, text.replace(/receiver-(\d):8000/g, (_all, number) => `127.0.0.1:${receivers[Number(number) - 1]}`));
  const proxy = spawn('haproxy', ['-db', '-f', file], { stdio: 'ignore' });
  const ended = new Promise((resolve) => proxy.on('close', resolve));
  scope.after(async () => {
    proxy.kill('SIGKILL');
    await ended;
  });
  return `http://127.0.0.1:${port}`;
}

/** Sends messages, each anew once the one before is answered, until `stop`; that returns the ids and every status but 200. */
function startSenders(url: string, secret: string) {
  const agent = new Agent({ keepAlive: true });
  const sent: string[] = [];
  const failures: number[] = [];
  let isOn = true;
  const one = async () => {
    while (isOn) {
      const id = `m${sent.length}`;
      sent.push(id);
      const body = JSON.stringify(message({ message_id: id }));
      const { status } = await ask(`${url}/webhook`, { method: 'POST', body, headers: { 'X-Signature': sign(body, secret) }, agent }).catch(() => ({ status: 0 }));
      if (status !== 200) failures.push(status);
    }
  };
  const ended = Array.from({ length: SENDERS }, one);
  return {
    count: () => sent.length,
    async stop() {
      isOn = false;
      await Promise.all(ended);
      agent.destroy();
      return { sent, failures };
    },
  };
}

describe('two receivers behind a proxy, on one PostgreSQL', { skip }, () => {
  test('take each message once, and refuse none while one of them is killed, comes again, and the other one stops', async (t) => {
    const credentials = makeCredentials(t);
    const postgres = await startInboxDatabase(t, credentials);
    const ports = [await freePort(), await freePort()] as const;
    const [first, second] = [startReceiver(t, credentials, postgres, ports[0]), startReceiver(t, credentials, postgres, ports[1])];
    await Promise.all([first.url(), second.url()]);
    const url = await startProxy(t, ports);
    await waitFor('the proxy', async () => (await ask(`${url}/health/ready`).catch(() => undefined))?.status === 200);
    const clear = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'inbox' AND NOT ssl";
    assert.equal(await postgres.sql(clear), '0');

    const senders = startSenders(url, readFileSync(join(credentials, 'receiver/webhook-secret'), 'utf8').trim());
    await Promise.all([first.line('webhook'), second.line('webhook')]);
    second.child.kill('SIGKILL');
    await second.ended;
    const again = startReceiver(t, credentials, postgres, ports[1]);
    await again.line('webhook');
    first.child.kill('SIGTERM');
    assert.equal((await first.ended).code, 0);
    const { failures, sent } = await senders.stop();
    assert.deepEqual(failures, []);
    const counts = 'SELECT count(*), count(DISTINCT message_id) FROM messages';
    assert.equal(await postgres.sql(counts, 'inbox'), `${sent.length}|${sent.length}`);
    t.diagnostic(`${sent.length} messages`);
  });
});
