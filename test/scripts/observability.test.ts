/** The alert rules: they ask for metrics that exist, and fire where they should, as far as promtool (Debian's `prometheus`) is installed. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { startTestApp } from '../support/app.ts';
import { hasOpenssl, makeCertificate } from '../support/certificates.ts';
import { CHECKOUT } from '../support/server-process.ts';
import { temporaryFolder } from '../support/temporary.ts';

const FOLDER = join(CHECKOUT, 'scripts/observability');
const rules = readFileSync(join(FOLDER, 'alerts.yml'), 'utf8');
const alerts = [...rules.matchAll(/- alert: (\w+)/g)].map(([, name = '']) => name);

function promtool(t: TestContext, ...args: string[]): void {
  const { error, status, stdout, stderr } = spawnSync('promtool', args, { cwd: FOLDER, encoding: 'utf8' });
  if (error !== undefined) return t.skip('promtool is not installed here');
  assert.equal(status, 0, stdout + stderr);
}

describe('the alerts', () => {
  test('ask for metrics and labels that the service has', async (t) => {
    if (!hasOpenssl) return t.skip('openssl is not installed here');
    const { certificate, key } = makeCertificate(temporaryFolder(t), 'server');
    const app = await startTestApp(t, { PRIVATE_PORT: '0', TLS_CERT_FILE: certificate, TLS_KEY_FILE: key });
    // Requests have a series once one was answered.
    await fetch(`${app.privateUrl}/metrics`);
    const metrics = await (await fetch(`${app.privateUrl}/metrics`)).text();
    const asked = new Set([...rules.matchAll(/\b((?:webhook|http|storage|database|log|tls|credentials)_[a-z_]+)\b/g)].map(([, name = '']) => name));
    assert.ok(asked.size >= 10);
    for (const name of asked) assert.ok(new RegExp(`^${name}(?:_bucket)?[ {]`, 'm').test(metrics), name);
    for (const [series] of rules.matchAll(/\b[a-z_]+\{(?:result|outcome)="[a-z]+"\}/g)) assert.ok(metrics.includes(series), series);
  });

  test('say what to do, each of them, and each is tested', () => {
    assert.ok(alerts.length >= 10);
    assert.equal(rules.match(/action:/g)?.length, alerts.length);
    const tests = readFileSync(join(FOLDER, 'alerts.test.yml'), 'utf8');
    for (const name of alerts) {
      assert.ok(tests.includes(`alertname: ${name} }`), `${name} is not seen to be silent`);
      assert.ok(tests.includes(`alertname="${name}"`), `${name} is not seen to fire`);
    }
  });

  test('are rules that promtool takes, and fire as they should', (t) => {
    promtool(t, 'check', 'rules', 'alerts.yml');
    promtool(t, 'test', 'rules', 'alerts.test.yml');
    promtool(t, 'check', 'config', '--syntax-only', 'prometheus.yml');
  });
});
