import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { startTestApp } from '../support/app.ts';
import { CHECKOUT } from '../support/server-process.ts';

const FOLDER = join(CHECKOUT, 'src/dashboard/page');
const app = await startTestApp({ after }, { READ_TOKEN: 'a-token-for-readers' });

describe('the page', () => {
  test('is open to anybody, and holds no message', async () => {
    await app.send({ text: 'canary' });
    const page = await app.get('/');
    assert.deepEqual([page.status, page.headers.get('content-type')], [200, 'text/html; charset=utf-8']);
    const text = await page.text();
    assert.equal(text, readFileSync(join(FOLDER, 'index.html'), 'utf8'));
    assert.doesNotMatch(text, /canary/);
  });

  test('has every file that it is made of, as it is, each with the headers that keep it to itself', async () => {
    const files = readdirSync(FOLDER).filter((name) => name !== 'index.html');
    assert.ok(files.length > 5);
    for (const path of ['/', ...files.map((name) => `/dashboard/${name}`), '/dashboard/webhook.json']) {
      const { status, headers } = await app.get(path);
      assert.equal(status, 200, path);
      const policy = headers.get('content-security-policy') ?? '';
      assert.match(policy, /^default-src 'none'; script-src 'self'; style-src 'self';.*frame-ancestors 'none'/, path);
      assert.doesNotMatch(policy, /unsafe|\*|https?:/, path);
      assert.deepEqual(
        ['referrer-policy', 'x-frame-options', 'x-content-type-options', 'cache-control'].map((name) => headers.get(name)),
        ['no-referrer', 'DENY', 'nosniff', 'no-store'], path);
    }
    for (const name of files) assert.equal(await (await app.get(`/dashboard/${name}`)).text(), readFileSync(join(FOLDER, name), 'utf8'), name);
  });

  test('loads nothing from elsewhere, and makes no markup of text', () => {
    for (const name of readdirSync(FOLDER)) {
      const text = readFileSync(join(FOLDER, name), 'utf8').replaceAll('http://www.w3.org/2000/svg', '');
      assert.doesNotMatch(text, /(?:https?:)?\/\/[a-z]+\./, name);
      assert.doesNotMatch(text, /innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|\son[a-z]+=| style=/, name);
      for (const [, specifier = ''] of text.matchAll(/ from '([^']+)'/g)) assert.match(specifier, /^\.\/[a-z]+\.js$/, name);
    }
  });

  test('says how to send to this service', async (t) => {
    assert.deepEqual(await (await app.get('/dashboard/webhook.json')).json(), { port: null, tls: false, schemes: ['x-signature'] });
    const apart = await startTestApp(t, { PRIVATE_PORT: '0', SIGNATURE_SCHEMES: 'standard-webhooks,x-signature' });
    assert.deepEqual(await (await fetch(`${apart.privateUrl}/dashboard/webhook.json`)).json(),
      { port: apart.port, tls: false, schemes: ['x-signature', 'standard-webhooks'] });
  });

  test('can be turned off', async (t) => {
    const plain = await startTestApp(t, { ENABLE_DASHBOARD: 'false' });
    for (const path of ['/', '/dashboard/main.js', '/dashboard/webhook.json']) assert.equal((await plain.get(path)).status, 404, path);
  });
});
