import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { startTestApp } from '../support/app.ts';
import { hasOpenssl, issueCertificate, makeCertificate } from '../support/certificates.ts';
import { SECRET } from '../support/messages.ts';
import { CHECKOUT } from '../support/server-process.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { PATIENCE_MS } from '../support/wait.ts';

const app = await startTestApp({ after });

/** Runs scripts/send.ts; resolves with its exit status and what it printed. */
function send(args: string[], env: Record<string, string> = { WEBHOOK_SECRET: SECRET }): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [join(CHECKOUT, 'scripts/send.ts'), ...args], { env, timeout: PATIENCE_MS, killSignal: 'SIGKILL' }, (_error, stdout, stderr) => {
      resolve({ code: child.exitCode ?? -1, stdout, stderr });
    });
  });
}

describe('scripts/send.ts', () => {
  test('sends a message of given fields, repeats it, and prints the answers', async () => {
    const fields = ['--id', 'sent', '--from', '+12', '--to', '+13', '--ts', '2025-01-15T10:00:00Z', '--text', 'é'];
    const sent = await send(['--url', app.url, ...fields, '--repeat', '2']);
    assert.deepEqual(sent, { code: 0, stdout: '200 {"status":"ok"}\n200 {"status":"ok"}\n', stderr: '' });
    const { items }: { items: unknown[] } = JSON.parse(await (await app.get('/messages?from=%2B12')).text());
    assert.deepEqual(items, [{ message_id: 'sent', from: '+12', to: '+13', ts: '2025-01-15T10:00:00Z', text: 'é' }]);
  });

  test('sends several messages, each with an id of its own', async () => {
    assert.equal((await send(['--url', app.url, '--from', '+14', '--count', '3'])).code, 0);
    assert.equal((await send(['--url', app.url, '--from', '+14', '--count', '2', '--id', 'numbered'])).code, 0);
    assert.match(await (await app.get('/messages?from=%2B14')).text(), /"numbered-1".*"numbered-2".*"total":5/);
  });

  test('shows a refusal, and fails', async () => {
    const refused = await send(['--url', app.url, '--secret', 'wrong']);
    assert.deepEqual([refused.code, refused.stdout], [1, '401 {"detail":"invalid signature"}\n']);
  });

  test('keeps to the path of a proxy', async () => {
    assert.equal((await send(['--url', `${app.url}/`])).code, 0);
    // This server has none, so it says that nothing is there.
    assert.match((await send(['--url', `${app.url}/inbox/`])).stdout, /^404 /);
  });

  test('signs by Standard Webhooks', async (t) => {
    for (const secret of ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'a plain secret of some length']) {
      const standard = await startTestApp(t, { WEBHOOK_SECRET: secret, SIGNATURE_SCHEMES: 'standard-webhooks' });
      const args = ['--url', standard.url, '--secret', secret];
      assert.deepEqual(await send([...args, '--scheme', 'standard-webhooks']), { code: 0, stdout: '200 {"status":"ok"}\n', stderr: '' });
      assert.equal((await send(args)).stdout, '401 {"detail":"invalid signature"}\n');
    }
  });

  test('trusts a given certificate, and shows its own', { skip: hasOpenssl ? false : 'openssl is not installed here' }, async (t) => {
    const folder = temporaryFolder(t);
    const [server, ca] = [makeCertificate(folder, 'server'), makeCertificate(folder, 'ca')];
    const client = issueCertificate(folder, 'client', ca);
    const secure = await startTestApp(t, { TLS_CERT_FILE: server.certificate, TLS_KEY_FILE: server.key, TLS_CLIENT_CA_FILE: ca.certificate });
    const url = ['--url', secure.url];
    const trusting = [...url, '--ca', server.certificate];
    assert.equal((await send([...trusting, '--cert', client.certificate, '--key', client.key])).stdout, '200 {"status":"ok"}\n');
    assert.equal((await send(trusting)).stdout, '401 {"detail":"a certificate of the configured client CA is required"}\n');
    assert.match((await send(url)).stderr, /no answer from https:.*self-signed certificate/);
  });

  test('says what is wrong with how it is called', async () => {
    assert.match((await send([], {})).stderr, /--secret or set WEBHOOK_SECRET/);
    assert.match((await send(['--count', '0'])).stderr, /--count must be a whole number/);
    assert.match((await send(['--scheme', 'constructor'])).stderr, /--scheme must be one of x-signature, standard-webhooks/);
    assert.match((await send(['--cert', 'x'])).stderr, /--cert and --key together/);
    assert.match((await send(['--ca', '/nowhere'])).stderr, /--ca must be a file that you can read/);
    assert.match((await send(['--url', 'ftp://a'])).stderr, /--url must be a URL/);
    assert.match((await send(['--url', 'x'])).stderr, /--url must be a URL/);
    assert.match((await send(['--wrong'])).stderr, /Unknown option '--wrong'/);
    const unreachable = await send(['--url', 'http://127.0.0.1:9']);
    assert.equal(unreachable.code, 1);
    assert.match(unreachable.stderr, /no answer from http:\/\/127\.0\.0\.1:9/);
  });

  test('helps', async () => {
    const helped = await send(['--help']);
    assert.equal(helped.code, 0);
    assert.match(helped.stdout, /--repeat N/);
  });
});
