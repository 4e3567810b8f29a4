/** Who may read, and on which port: the tokens, the private side, and the schemes of signing, over real sockets. */
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { startTestApp, type TestApp } from './support/app.ts';
import { message, SECRET, sign } from './support/messages.ts';
import { exchangeRaw, statusesIn } from './support/raw-http.ts';
import { ask } from './support/request.ts';
import { standardHeaders } from './support/signatures.ts';

const TOKENS = { READ_TOKEN: 'reader-of-today-1234', READ_TOKEN_PREVIOUS: 'reader-of-before-123', METRICS_TOKEN: 'monitoring-token-123' };
/** Every route that shows messages, or figures about them. */
const READING = ['/messages', '/messages?order=newest', '/stats', '/stats/minutes', '/storage', '/refusals'];
const OPEN = ['/health/live', '/health/ready'];
const bearer = (token: string) => ({ Authorization: `Bearer ${token}` });

describe('with tokens', async () => {
  const app = await startTestApp({ after }, TOKENS);

  async function refused(path: string, headers: Readonly<Record<string, string>>, challenge: string): Promise<void> {
    for (const method of ['GET', 'HEAD']) {
      const { status, headers: got, body } = await ask(app.url + path, { method, headers });
      assert.deepEqual([status, got['www-authenticate']], [401, challenge], `${method} ${path} ${JSON.stringify(headers)}`);
      if (method === 'GET') assert.match(body, /^\{"detail":"[^"]+"\}$/);
    }
  }
  const WITHOUT = 'Bearer realm="webhook-inbox"';
  const WRONG = 'Bearer realm="webhook-inbox", error="invalid_token"';

  test('reading takes the token of today or the one before it, and tells which', async () => {
    for (const path of READING) {
      const before = [await current(app), await previous(app)];
      assert.equal((await ask(app.url + path, { headers: bearer(TOKENS.READ_TOKEN) })).status, 200);
      assert.equal((await ask(app.url + path, { headers: { authorization: `bEARER  ${TOKENS.READ_TOKEN}` } })).status, 200);
      assert.equal((await ask(app.url + path, { headers: bearer(TOKENS.READ_TOKEN_PREVIOUS) })).status, 200);
      assert.deepEqual([await current(app), await previous(app)], before.map((count, index) => (count ?? 0) + (index === 0 ? 2 : 1)));
    }
  });

  test('reading refuses everything else', async () => {
    for (const path of [...READING, '/messages?limit=wrong', '/messages/stream', '/messages/stream?after=wrong']) {
      await refused(path, {}, WITHOUT);
      for (const value of ['', 'Bearer', 'Bearer ', TOKENS.READ_TOKEN, `Basic ${TOKENS.READ_TOKEN}`, `Bearer ${TOKENS.READ_TOKEN} x`, `Bearer ${TOKENS.READ_TOKEN},`]) {
        await refused(path, { Authorization: value }, WITHOUT);
      }
      for (const token of ['wrong', TOKENS.READ_TOKEN.slice(1), `${TOKENS.READ_TOKEN}x`, TOKENS.READ_TOKEN.toUpperCase(), TOKENS.METRICS_TOKEN, SECRET.replaceAll(' ', '-')]) {
        await refused(path, bearer(token), WRONG);
      }
    }
    assert.equal((await ask(`${app.url}/messages?access_token=${TOKENS.READ_TOKEN}`)).status, 401);
  });

  test('reading refuses a token that comes twice', async () => {
    const header = `Authorization: Bearer ${TOKENS.READ_TOKEN}\r\n`;
    const request = (headers: string) => `GET /stats HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${headers}\r\n`;
    assert.deepEqual(statusesIn(await exchangeRaw(app.port, request(header))), [200]);
    assert.deepEqual(statusesIn(await exchangeRaw(app.port, request(header + header))), [401]);
  });

  test('metrics take their own token alone', async () => {
    assert.equal((await ask(`${app.url}/metrics`, { headers: bearer(TOKENS.METRICS_TOKEN) })).status, 200);
    await refused('/metrics', {}, WITHOUT);
    for (const token of [TOKENS.READ_TOKEN, TOKENS.READ_TOKEN_PREVIOUS, 'wrong']) await refused('/metrics', bearer(token), WRONG);
  });

  test('health, the webhook and what is not there are open', async () => {
    for (const path of OPEN) assert.equal((await ask(app.url + path)).status, 200);
    assert.equal((await app.send()).status, 200);
    assert.equal((await ask(`${app.url}/nowhere`)).status, 404);
  });
});

describe('a web page elsewhere', async () => {
  const ELSEWHERE = ['cross-site', 'same-site'];
  const HERE = ['same-origin', 'none'];
  const refusal = { detail: 'a page of another site may not ask for this' };

  test('cannot ask for what shows messages, with the right token or without, not even for how long it takes', async (t) => {
    for (const environment of [{}, TOKENS, { PRIVATE_PORT: '0' }]) {
      const app = await startTestApp(t, environment);
      const headers = bearer(TOKENS.READ_TOKEN);
      for (const path of [...READING, '/messages?q=hello&offset=20000', '/messages?limit=wrong', '/messages/stream']) {
        for (const site of ELSEWHERE) {
          const answer = await ask(app.privateUrl + path, { headers: { ...headers, 'Sec-Fetch-Site': site } });
          assert.deepEqual([answer.status, JSON.parse(answer.body)], [403, refusal], `${path} ${site}`);
          assert.equal((await ask(app.privateUrl + path, { headers: { 'Sec-Fetch-Site': site } })).status, 403, path);
          assert.equal((await ask(app.privateUrl + path, { method: 'HEAD', headers: { ...headers, 'Sec-Fetch-Site': site } })).status, 403, path);
        }
      }
      for (const path of READING) {
        for (const site of HERE) assert.equal((await ask(app.privateUrl + path, { headers: { ...headers, 'Sec-Fetch-Site': site } })).status, 200, path);
      }
    }
  });

  test('can lead to the page, and ask for what shows no messages', async (t) => {
    const app = await startTestApp(t);
    const headers = { 'Sec-Fetch-Site': 'cross-site', 'Sec-Fetch-Mode': 'navigate', 'Sec-Fetch-Dest': 'document' };
    for (const path of ['/', '/dashboard/main.js', '/metrics', ...OPEN]) assert.equal((await ask(app.url + path, { headers })).status, 200, path);
    const body = JSON.stringify(message());
    assert.equal((await ask(`${app.url}/webhook`, { method: 'POST', headers: { ...headers, 'X-Signature': sign(body) }, body })).status, 200);
  });
});

describe('a host name that a stranger can point here', async () => {
  const asked = (app: TestApp, path: string, host: string, headers: Readonly<Record<string, string>> = {}) =>
    ask(app.privateUrl + path, { headers: { ...headers, Host: host } });

  test('is shown no message without a token, and told what to set', async (t) => {
    for (const environment of [{}, { PRIVATE_PORT: '0' }]) {
      const app = await startTestApp(t, environment);
      for (const path of [...READING, '/messages/stream', '/messages?limit=wrong']) {
        const { status, body } = await asked(app, path, 'rebound.example.com:8000');
        assert.equal(status, 403, path);
        assert.match(body, /^\{"detail":"[^"]*ALLOWED_HOSTS[^"]*READ_TOKEN[^"]*"\}$/);
        assert.doesNotMatch(body, /rebound/);
      }
      for (const path of READING) {
        for (const host of ['127.0.0.1', 'localhost:8000', '[::1]:8000', 'inbox.internal', 'inbox']) assert.equal((await asked(app, path, host)).status, 200, host);
      }
    }
  });

  test('is shown them where ALLOWED_HOSTS has it, or where it shows a token', async (t) => {
    const allowing = await startTestApp(t, { ALLOWED_HOSTS: 'inbox.example.com, .Example.org' });
    for (const host of ['inbox.example.com', 'INBOX.example.com.:8000', 'example.org', 'a.example.org']) assert.equal((await asked(allowing, '/stats', host)).status, 200, host);
    for (const host of ['example.com', 'a.inbox.example.com', 'aexample.org']) assert.equal((await asked(allowing, '/stats', host)).status, 403, host);
    const guarded = await startTestApp(t, TOKENS);
    assert.equal((await asked(guarded, '/stats', 'rebound.example.com', bearer(TOKENS.READ_TOKEN))).status, 200);
    assert.equal((await asked(guarded, '/stats', 'rebound.example.com')).status, 401);
  });

  test('gets the webhook, health, metrics and the page, which hold no message', async (t) => {
    const app = await startTestApp(t);
    for (const path of ['/', '/dashboard/main.js', '/metrics', ...OPEN]) assert.equal((await asked(app, path, 'rebound.example.com')).status, 200, path);
    const body = JSON.stringify(message());
    assert.equal((await ask(`${app.url}/webhook`, { method: 'POST', headers: { Host: 'inbox.example.com', 'X-Signature': sign(body) }, body })).status, 200);
  });

  test('is known in every form of a request', async (t) => {
    const app = await startTestApp(t);
    for (const [request, status] of [
      ['GET /stats HTTP/1.1\r\nHost: rebound.example.com\r\nConnection: close', 403],
      ['GET http://rebound.example.com/stats HTTP/1.1\r\nHost: rebound.example.com\r\nConnection: close', 403],
      ['GET http://Rebound.Example.com:80/stats HTTP/1.1\r\nhost: rebound.example.com:80\r\nConnection: close', 403],
      ['GET http://localhost:8000/stats HTTP/1.1\r\nHost: localhost:8000\r\nConnection: close', 200],
      ['GET http://localhost/stats HTTP/1.1\r\nHost: rebound.example.com\r\nConnection: close', 400],
      ['GET /stats HTTP/1.0\r\nHost: rebound.example.com', 403],
      // No browser leaves it out.
      ['GET /stats HTTP/1.0', 200],
    ] as const) {
      assert.deepEqual(statusesIn(await exchangeRaw(app.port, `${request}\r\n\r\n`)), [status], request);
    }
  });
});

const metricWithToken = async (app: TestApp, series: string) => {
  const { body } = await ask(`${app.privateUrl}/metrics`, { headers: bearer(TOKENS.METRICS_TOKEN) });
  return Number(new RegExp(`^${series} (.+)$`, 'm').exec(body)?.[1]);
};
const current = (app: TestApp) => metricWithToken(app, 'read_tokens_verified_total\\{key="current"\\}');
const previous = (app: TestApp) => metricWithToken(app, 'read_tokens_verified_total\\{key="previous"\\}');

describe('with a private port', async () => {
  const app = await startTestApp({ after }, { PRIVATE_PORT: '0', READ_TOKEN: TOKENS.READ_TOKEN });

  test('the public one has the webhook and liveness alone', async () => {
    assert.notEqual(app.privateUrl, app.url);
    assert.equal((await app.send()).status, 200);
    assert.equal((await ask(`${app.url}/health/live`)).status, 200);
    for (const path of [...READING, '/messages/stream', '/health/ready', '/metrics', '/', '/dashboard/main.js', '/nowhere']) {
      const answer = await ask(app.url + path, { headers: bearer(TOKENS.READ_TOKEN) });
      assert.deepEqual([answer.status, answer.body], [404, '{"detail":"Not Found"}'], path);
    }
  });

  test('the private one has all the rest, guarded as before', async () => {
    for (const path of [...OPEN, '/metrics']) assert.equal((await ask(app.privateUrl + path)).status, 200, path);
    for (const path of READING) {
      assert.equal((await ask(app.privateUrl + path)).status, 401, path);
      assert.equal((await ask(app.privateUrl + path, { headers: bearer(TOKENS.READ_TOKEN) })).status, 200, path);
    }
    assert.equal((await ask(`${app.privateUrl}/webhook`, { method: 'POST', body: '{}' })).status, 404);
  });

  test('connections to both are counted, and both end with the service', async (t) => {
    const stopped = await startTestApp(t, { PRIVATE_PORT: '0' });
    assert.equal((await stopped.send()).status, 200);
    assert.ok((await stopped.metric('http_connections_open') ?? 0) >= 2);
    await stopped.stop();
    await assert.rejects(ask(`${stopped.url}/health/live`));
    await assert.rejects(ask(`${stopped.privateUrl}/health/live`));
  });

  test('a start is refused where the private one is taken, and leaves the public one closed', async (t) => {
    const taken = String(new URL(app.privateUrl).port);
    await assert.rejects(startTestApp(t, { PRIVATE_PORT: taken }), { problems: [`PRIVATE_PORT ${taken} on 127.0.0.1 is already in use; stop what uses it or choose another`] });
    await assert.rejects(startTestApp(t, { PRIVATE_PORT: '0', PORT: String(app.port) }), { problems: [`PORT ${app.port} on 127.0.0.1 is already in use; stop what uses it or choose another`] });
  });
});

describe('with Standard Webhooks', async () => {
  const STANDARD_SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
  const app = await startTestApp({ after }, { WEBHOOK_SECRET: STANDARD_SECRET, SIGNATURE_SCHEMES: 'x-signature,standard-webhooks', SIGNATURE_TOLERANCE_SECONDS: '60' });
  const now = () => Math.floor(Date.now() / 1000);
  const post = (headers: Readonly<Record<string, string>>, body: string) => ask(`${app.url}/webhook`, { method: 'POST', headers, body });

  test('a message signed either way is stored, and counted by its key', async () => {
    const body = JSON.stringify(message({ message_id: 'standard' }));
    assert.equal((await post(standardHeaders(body, STANDARD_SECRET, now()), body)).status, 200);
    const other = JSON.stringify(message({ message_id: 'x' }));
    assert.equal((await post({ 'X-Signature': sign(other, STANDARD_SECRET) }, other)).status, 200);
    assert.match((await ask(`${app.url}/messages`)).body, /"total":2/);
    assert.equal(await app.metric('webhook_signatures_verified_total{key="current"}'), 2);
    assert.equal(await app.metric('webhook_signatures_verified_total{key="previous"}'), 0);
  });

  test('one that is stale, or signed in both ways, is refused with its reason', async () => {
    const body = JSON.stringify(message({ message_id: 'refused' }));
    const both = { ...standardHeaders(body, STANDARD_SECRET, now()), 'X-Signature': sign(body, STANDARD_SECRET) };
    for (const [headers, reason] of [
      [standardHeaders(body, STANDARD_SECRET, now() - 62), 'timestamp'], [standardHeaders(body, STANDARD_SECRET, now() + 62), 'timestamp'], [both, 'malformed'],
    ] as const) {
      const series = `webhook_signature_failures_total{reason="${reason}"}`;
      const before = await app.metric(series) ?? NaN;
      const answer = await post(headers, body);
      assert.deepEqual([answer.status, answer.body], [401, '{"detail":"invalid signature"}']);
      assert.equal(app.logs.findLast(({ event }) => event === 'webhook')?.['reason'], reason);
      assert.equal(await app.metric(series), before + 1);
    }
    assert.doesNotMatch((await ask(`${app.url}/messages`)).body, /refused/);
  });
});
