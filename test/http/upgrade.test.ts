/** `Upgrade` is ignored (RFC 9110 section 7.8): the request is answered as HTTP/1.1, and nothing behind it on its connection is executed. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, describe, test } from 'node:test';
import { startTestApp } from '../support/app.ts';
import { message, sign } from '../support/messages.ts';
import { connectRaw, exchangeRaw, statusesIn } from '../support/raw-http.ts';
import { waitFor } from '../support/wait.ts';

const app = await startTestApp({ after });
/** As Java's HttpClient sends it. */
const H2C = 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n';
const WEBSOCKET = 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n';
const LIVE = 'GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n';

function signedPost(message_id: string, headers = ''): string {
  const body = JSON.stringify(message({ message_id }));
  return `POST /webhook HTTP/1.1\r\nHost: a\r\n${headers}X-Signature: ${sign(body)}\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
}

function chunkedPost(message_id: string, headers: string): string {
  const body = JSON.stringify(message({ message_id }));
  const chunks = `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;
  return `POST /webhook HTTP/1.1\r\nHost: a\r\n${headers}X-Signature: ${sign(body)}\r\nTransfer-Encoding: chunked\r\n\r\n${chunks}`;
}

async function isStored(message_id: string): Promise<boolean> {
  const { items }: { items: { message_id: string }[] } = JSON.parse(await (await app.get('/messages?limit=100')).text());
  return items.some((item) => item.message_id === message_id);
}

const requests: Record<string, [string, number[]]> = {
  'a POST that asks for h2c': [signedPost('h2c', H2C), [200]],
  'a chunked one': [chunkedPost('chunked', H2C), [200]],
  'one that expects to be told to go on': [signedPost('expects', `${H2C}Expect: 100-continue\r\n`), [100, 200]],
  'one for websocket': [signedPost('websocket', WEBSOCKET), [200]],
  'one that does not say so in Connection': [signedPost('unnamed', 'Upgrade: h2c\r\n'), [200]],
  'one with two of them': [signedPost('two', `${H2C}Upgrade: websocket\r\n`), [200]],
  'one with a wrong signature': [`POST /webhook HTTP/1.1\r\nHost: a\r\n${H2C}Content-Length: 2\r\n\r\n{}`, [401]],
  'a GET': [`GET /stats HTTP/1.1\r\nHost: a\r\n${H2C}\r\n`, [200]],
  'a GET of no route': [`GET /socket HTTP/1.1\r\nHost: a\r\n${WEBSOCKET}\r\n`, [404]],
  'a GET of the webhook': [`GET /webhook HTTP/1.1\r\nHost: a\r\n${WEBSOCKET}\r\n`, [405]],
  'an unknown expectation': [`GET /stats HTTP/1.1\r\nHost: a\r\n${H2C}Expect: 200-ok\r\n\r\n`, [417]],
  'HTTP/1.0': [`GET /stats HTTP/1.0\r\n${H2C}\r\n`, [200]],
  'a head that could be read in two ways': [`GET /stats HTTP/1.1\r\nHost: a\r\nHost: b\r\n${H2C}\r\n`, [400]],
  'a CONNECT': [`CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n${H2C}\r\n`, [400]],
};

describe('a request that asks for another protocol', () => {
  for (const [what, [bytes, statuses]] of Object.entries(requests)) {
    test(`is answered as what it is, and its connection ends: ${what}`, async () => {
      const answer = await exchangeRaw(app.port, bytes);
      assert.deepEqual(statusesIn(answer), statuses);
      assert.match(answer, /^Connection: close\r$/m);
      assert.doesNotMatch(answer, /^Upgrade:/mi);
    });

    test(`nothing behind it is executed: ${what}`, async (t) => {
      const behind = signedPost(`behind ${what}`);
      assert.deepEqual(statusesIn(await exchangeRaw(app.port, bytes + behind)), statuses);
      // What a proxy passes on in two pieces, of which the second alone looks like a request.
      const hidden = signedPost(`hidden in ${what}`);
      const inPieces = connectRaw(t, app.port);
      inPieces.write(`${bytes}POST /webhook HTTP/1.1\r\nHost: a\r\nContent-Length: ${hidden.length}\r\n\r\n`);
      inPieces.write(hidden);
      assert.deepEqual(statusesIn(await inPieces.closed()), statuses);
      assert.deepEqual([await isStored(`behind ${what}`), await isStored(`hidden in ${what}`)], [false, false]);
    });
  }

  test('has its answer in its place', async () => {
    const bytes = LIVE + signedPost('before') + signedPost('in its place', H2C) + LIVE;
    assert.deepEqual(statusesIn(await exchangeRaw(app.port, bytes)), [200, 200, 200]);
    assert.ok(await isStored('in its place'));
  });

  test('may send its body slowly, and is 408 where it does not end', async (t) => {
    const slow = await startTestApp(t, { REQUEST_TIMEOUT_MS: '1000' });
    const post = signedPost('slow', H2C);
    const sender = connectRaw(t, slow.port);
    for (const piece of [post.slice(0, 30), post.slice(30, -20), post.slice(-20)]) {
      sender.write(piece);
      await slow.get('/health/live');
    }
    assert.deepEqual(statusesIn(await sender.closed()), [200]);
    const unfinished = connectRaw(t, slow.port);
    unfinished.write(post.slice(0, -1));
    await waitFor('its answer', () => statusesIn(unfinished.received())[0] === 408);
  });

  test('is what curl sends with --http2', async (t) => {
    const body = JSON.stringify(message({ message_id: 'curl' }));
    const args = ['--silent', '--show-error', '--http2', '--header', `X-Signature: ${sign(body)}`, '--data-binary', body, `${app.url}/webhook`];
    const { error, stdout, stderr } = await new Promise<{ error: Error | null; stdout: string; stderr: string }>((resolve) => {
      execFile('curl', args, (failure, out, problem) => resolve({ error: failure, stdout: out, stderr: problem }));
    });
    if (error !== null && (stderr === '' || stderr.includes('does not support'))) return t.skip('there is no curl with HTTP/2 here');
    assert.equal(stdout, '{"status":"ok"}', stderr);
  });
});

test('HTTP/2 without asking is 400', async () => {
  assert.deepEqual(statusesIn(await exchangeRaw(app.port, 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')), [400]);
  assert.equal(await app.metric('http_requests_refused_total{reason="unsupported_version"}'), 1);
});
