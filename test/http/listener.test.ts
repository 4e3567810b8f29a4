import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import type { UnavailableReason } from '../../src/errors.ts';
import { openStorage } from '../../src/storage/open.ts';
import type { AppendOutcome } from '../../src/storage/storage.ts';
import { startTestApp } from '../support/app.ts';
import { message, sign } from '../support/messages.ts';
import { connectRaw, exchangeRaw, statusesIn } from '../support/raw-http.ts';
import { waitFor } from '../support/wait.ts';

const app = await startTestApp({ after });
const ROUTES = ['/webhook', '/messages', '/stats', '/health/live', '/health/ready', '/metrics'];

const get = (path: string, ...headers: string[]) => [`GET ${path} HTTP/1.1`, 'Host: localhost', ...headers, '', ''].join('\r\n');

/** What every answer has, whatever it answers. */
function assertCommonHeaders(answer: string): void {
  const [head = ''] = answer.split('\r\n\r\n');
  assert.match(head, /^X-Request-ID: [0-9a-f-]{36}$/m);
  assert.match(head, /^Cache-Control: no-store$/m);
  assert.match(head, /^X-Content-Type-Options: nosniff$/m);
}

describe('every answer', () => {
  const requests: Record<string, [string, number]> = {
    'a route': [get('/health/live', 'Connection: close'), 200],
    'no route': [get('/nothing', 'Connection: close'), 404],
    'another method': [`PUT /messages HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`, 405],
    'a refused signature': ['POST /webhook HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n', 401],
    'an unknown expectation': [get('/stats', 'Expect: 200-ok'), 417],
    'a request without Host': ['GET / HTTP/1.1\r\n\r\n', 400],
    'bytes that are no request': ['garbage\r\n\r\n', 400],
    'a head that is too large': [get('/', `X: ${'x'.repeat(20_000)}`), 431],
    'a head of too many lines': [get('/', ...Array.from({ length: 100 }, () => 'A:')), 431],
    'a CONNECT': ['CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n', 400],
  };
  for (const [what, [bytes, status]] of Object.entries(requests)) {
    test(`to ${what} has its request id, is never stored by a cache, and is logged`, async () => {
      const answer = await exchangeRaw(app.port, bytes);
      assert.deepEqual(statusesIn(answer), [status]);
      assertCommonHeaders(answer);
      const requestId = /^X-Request-ID: (.*)$/m.exec(answer)?.[1]?.trim();
      const line = app.logs.find(({ event, request_id }) => event === 'request' && request_id === requestId);
      assert.equal(line?.['status'], status);
      assert.equal(line?.['remote_address'], status >= 400 ? '127.0.0.1' : undefined);
      assert.ok(line !== undefined && 'latency_ms' in line);
      if (status >= 400) assert.match(answer, /\r\n\r\n\{"detail":/);
    });
  }

  test('has a request id of its own, never the caller\'s', async () => {
    const ask = async () => (await app.get('/health/live', { headers: { 'X-Request-ID': 'mine' } })).headers.get('x-request-id');
    const [first, second] = [await ask(), await ask()];
    assert.ok(first !== 'mine' && first !== second);
  });
});

describe('routing', () => {
  test('HEAD is there where GET is, with its headers and no body', async () => {
    for (const path of ROUTES.slice(1)) {
      const answer = await exchangeRaw(app.port, `HEAD ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
      assert.deepEqual(statusesIn(answer), [200], path);
      assert.match(answer, /Content-Length: [1-9]/);
      assert.ok(answer.endsWith('\r\n\r\n'), path);
    }
  });

  test('HEAD has the headers of GET, whatever the route', async () => {
    const pages = ['/', '/dashboard/main.js', '/dashboard/style.css', '/dashboard/icon.svg', '/dashboard/webhook.json'];
    // Of one answer alone, or of how its content is framed.
    const differing = ['date', 'x-request-id', 'transfer-encoding', 'connection', 'keep-alive'];
    for (const path of [...ROUTES.slice(1), '/stats/minutes', '/messages/stream', '/refusals', ...pages]) {
      const [getHeaders, headHeaders] = await Promise.all(['GET', 'HEAD'].map(async (method) => {
        const { headers, body } = await app.get(path, { method });
        await body?.cancel();
        // What is shown may have grown by what was asked before.
        const isLive = path === '/metrics';
        return [...headers].filter(([name]) => !differing.includes(name) && !(isLive && name === 'content-length'));
      }));
      assert.deepEqual(headHeaders, getHeaders, path);
    }
  });

  test('another method is 405 with Allow', async () => {
    for (const path of ROUTES) {
      for (const method of ['PUT', 'PATCH', ...(path === '/messages' ? [] : ['DELETE']), 'OPTIONS', 'TRACE', 'PROPFIND', path === '/webhook' ? 'GET' : 'POST']) {
        const answer = await exchangeRaw(app.port, `${method} ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
        assert.deepEqual(statusesIn(answer), [405], `${method} ${path}`);
        assert.ok(answer.includes(`Allow: ${path === '/webhook' ? 'POST' : 'GET, HEAD'}\r\n`), path);
        assert.ok(answer.endsWith('{"detail":"Method Not Allowed"}'));
      }
    }
  });

  test('a path is matched byte for byte, and any other is 404', async () => {
    for (const path of ['/dashboard', '/dashboard/', '/dashboard/../index.html', '/index.html', '/messages/', '/Messages', '/%6dessages', '//messages', '//', '/messages/x', '/messages;x', '/../messages', '/webhook/']) {
      const answer = await exchangeRaw(app.port, get(path, 'Connection: close'));
      assert.deepEqual(statusesIn(answer), [404], path);
      assert.ok(answer.endsWith('{"detail":"Not Found"}'));
    }
    assert.equal(await app.metric('http_requests_total{method="GET",route="/Messages",status="404"}'), undefined);
    assert.ok((await app.metric('http_requests_total{method="GET",route="(unmatched)",status="404"}') ?? 0) > 0);
  });
});

describe('a request that two parties could read differently', () => {
  const refused: Record<string, string> = {
    'two Hosts': 'GET /health/live HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n',
    'an empty Host': 'GET /health/live HTTP/1.1\r\nHost:\r\n\r\n',
    'a malformed Host': 'GET /health/live HTTP/1.1\r\nHost: a/b\r\n\r\n',
    'HTTP/2.0': 'GET /health/live HTTP/2.0\r\nHost: a\r\n\r\n',
    'a coding before chunked': 'POST /webhook HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n',
    'chunked in HTTP/1.0': 'POST /webhook HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    'both lengths': 'POST /webhook HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    'two different lengths': 'POST /webhook HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!',
    'a signed length': 'POST /webhook HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello',
    'another host in its target': 'GET http://b/health/live HTTP/1.1\r\nHost: a\r\n\r\n',
    'the asterisk form': 'GET * HTTP/1.1\r\nHost: a\r\n\r\n',
    'the asterisk form of OPTIONS': 'OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n',
    'a folded header': 'GET /health/live HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n',
    'a space before the colon': 'GET /health/live HTTP/1.1\r\nHost : a\r\n\r\n',
    'bare line feeds': 'GET /health/live HTTP/1.1\nHost: a\n\n',
  };
  for (const [what, bytes] of Object.entries(refused)) {
    test(`${what}: 400, and nothing after it is read`, async () => {
      assert.deepEqual(statusesIn(await exchangeRaw(app.port, bytes + get('/health/live'))), [400]);
    });
  }

  test('an absolute target of its own host is answered', async () => {
    assert.deepEqual(statusesIn(await exchangeRaw(app.port, 'GET http://a/health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')), [200]);
  });

  test('HTTP/1.0 without Host is answered and closed', async () => {
    assert.deepEqual(statusesIn(await exchangeRaw(app.port, 'GET /health/live HTTP/1.0\r\n\r\n')), [200]);
  });
});

test('a head of a hundred lines is answered', async () => {
  const lines = ['Connection: close', ...Array.from({ length: 98 }, () => 'A:')];
  assert.deepEqual(statusesIn(await exchangeRaw(app.port, get('/health/live', ...lines))), [200]);
});

describe('one connection', () => {
  test('carries several requests, answered in order', async () => {
    const bytes = get('/health/live') + get('/nothing') + get('/stats') + get('/health/live', 'Connection: close');
    assert.deepEqual(statusesIn(await exchangeRaw(app.port, bytes)), [200, 404, 200, 200]);
  });

  test('is kept after a refused request whose body is small enough to skip', async () => {
    const bytes = `PUT /stats HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello${get('/health/live', 'Connection: close')}`;
    assert.deepEqual(statusesIn(await exchangeRaw(app.port, bytes)), [405, 200]);
  });

  test('ends after a refused request whose body is not', async () => {
    const body = 'x'.repeat(100_000);
    const bytes = `PUT /stats HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}${get('/health/live')}`;
    assert.deepEqual(statusesIn(await exchangeRaw(app.port, bytes)), [405]);
  });

  test('gets the answers that are due when what follows is garbage', async () => {
    const body = JSON.stringify(message());
    const first = `POST /webhook HTTP/1.1\r\nHost: a\r\nX-Signature: ${sign(body)}\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    const answer = await exchangeRaw(app.port, `${first}garbage\r\n\r\n`);
    assert.deepEqual(statusesIn(answer), [200]);
  });

  test('that breaks off is forgotten', async (t) => {
    const open = await app.metric('http_connections_open') ?? 0;
    const connection = connectRaw(t, app.port);
    connection.write('GET /hea');
    await waitFor('the connection', async () => (await app.metric('http_connections_open') ?? 0) > open);
    connection.socket.resetAndDestroy();
    await waitFor('its end', async () => (await app.metric('http_connections_open') ?? 0) <= open);
  });
});

describe('a client that is still sending when it is refused', () => {
  test('gets its answer, though far more was on its way', async (t) => {
    const connection = connectRaw(t, app.port);
    connection.write('POST /webhook HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n');
    const chunk = `10000\r\n${'x'.repeat(0x10000)}\r\n`;
    for (let sent = 0; sent < 12; sent += 1) connection.write(chunk);
    assert.deepEqual(statusesIn(await connection.closed()), [413]);
  });
});

describe('draining', () => {
  test('answers what was received, refuses half-sent bodies, and closes idle and half-open connections', async (t) => {
    const appending = Promise.withResolvers<void>();
    const outcome = Promise.withResolvers<AppendOutcome>();
    const slow = await startTestApp(t, {}, async (options) => ({
      ...await openStorage(options),
      append() {
        appending.resolve();
        return outcome.promise;
      },
    }));
    const idle = connectRaw(t, slow.port);
    idle.write(get('/health/live'));
    await waitFor('the idle connection', () => statusesIn(idle.received()).length === 1);
    const halfHead = connectRaw(t, slow.port);
    halfHead.write('GET /hea');
    const halfBody = connectRaw(t, slow.port);
    halfBody.write('POST /webhook HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n{');
    await waitFor('the half body', () => statusesIn(halfBody.received())[0] === 100);
    const pending = slow.send();
    await appending.promise;

    const stopped = slow.stop();
    await waitFor('not ready', async () => (await slow.get('/health/ready').catch(() => undefined))?.status === 503);
    outcome.resolve('stored');
    const answered = await pending;
    assert.deepEqual([answered.status, answered.headers.get('connection')], [200, 'close']);
    assert.deepEqual(statusesIn(await halfBody.closed()), [100, 503]);
    assert.deepEqual(statusesIn(await idle.closed()), [200]);
    assert.deepEqual(statusesIn(await halfHead.closed()), []);
    const { drained, unanswered } = await stopped;
    assert.ok(drained >= 2, String(drained));
    assert.equal(unanswered, 0);
    // An orderly end is no error.
    const refused = slow.logs.filter(({ status, result }) => status === 503 || result === 'unavailable');
    assert.deepEqual(refused.filter(({ path }) => path !== '/health/ready').map(({ event, level }) => [event, level]), [['webhook', 'WARNING'], ['request', 'WARNING']]);
  });

  test('begins only after the delay, and the delay ends where the storage fails', async (t) => {
    const failure = Promise.withResolvers<UnavailableReason>();
    const delayed = await startTestApp(t, { SHUTDOWN_DELAY_MS: '600000' }, async (options) => ({
      ...await openStorage(options), failure: failure.promise,
    }));
    const stopped = delayed.stop();
    assert.deepEqual(await (await delayed.get('/health/ready')).json(), { status: 'unavailable', reasons: ['shutting down'] });
    assert.equal((await delayed.get('/health/live')).status, 200);
    const connection = connectRaw(t, delayed.port);
    for (let asked = 1; asked <= 2; asked += 1) {
      connection.write(get('/stats'));
      await waitFor('an answer', () => statusesIn(connection.received()).length === asked);
    }
    assert.match(connection.received(), /keep-alive/);
    assert.equal((await delayed.send()).status, 200);
    failure.resolve('the writer thread died');
    await stopped;
    await assert.rejects(delayed.get('/health/live'));
  });

  test('gives up on what is not answered by the deadline, and says so', async (t) => {
    const stuck = await startTestApp(t, { SHUTDOWN_TIMEOUT_MS: '1500' }, async (options) => ({
      ...await openStorage(options), append: () => new Promise(() => {}),
    }));
    const pending = stuck.send().catch(() => 'closed');
    await waitFor('the request', async () => (await stuck.metric('http_connections_open') ?? 0) >= 2);
    const { unanswered } = await stuck.stop();
    assert.equal(unanswered, 1);
    assert.equal(await pending, 'closed');
  });
});
