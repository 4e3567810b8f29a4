/** Requests refused before they have a route: what is told of them, and whether those who are still sending can read it. */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { describe, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { openStorage } from '../../src/storage/open.ts';
import { startTestApp } from '../support/app.ts';
import { hasOpenssl, makeCertificate } from '../support/certificates.ts';
import { message, sign } from '../support/messages.ts';
import { connectRaw, exchangeRaw, statusesIn } from '../support/raw-http.ts';
import { temporaryFolder, type Scope } from '../support/temporary.ts';
import { waitFor } from '../support/wait.ts';

const LIVE = 'GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n';
const head = (...lines: string[]) => ['GET /stats HTTP/1.1', ...lines, '', ''].join('\r\n');

const refused: Record<string, readonly [reason: string, status: number, bytes: string]> = {
  'bytes that are no request': ['malformed', 400, 'garbage\r\n\r\n'],
  'a TLS handshake': ['malformed', 400, '\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03'],
  'two lengths': ['malformed', 400, head('Host: a', 'Content-Length: 1', 'Content-Length: 2')],
  'a head of too many bytes': ['head_too_large', 431, head('Host: a', `X: ${'x'.repeat(20_000)}`)],
  'a head of too many lines': ['head_too_large', 431, head('Host: a', ...Array.from({ length: 100 }, () => 'A:'))],
  'another version': ['unsupported_version', 400, 'GET /stats HTTP/2.0\r\nHost: a\r\n\r\n'],
  'no version that there is': ['unsupported_version', 400, 'GET /stats HTTP/9.9\r\nHost: a\r\n\r\n'],
  'HTTP/2 without asking': ['unsupported_version', 400, 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
  'no Host': ['invalid_host', 400, head()],
  'two Hosts': ['invalid_host', 400, head('Host: a', 'Host: a')],
  'a malformed Host': ['invalid_host', 400, head('Host: a/b')],
  'a coding before chunked': ['invalid_transfer_encoding', 400, 'POST /webhook HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n'],
  'a coding alone': ['invalid_transfer_encoding', 400, 'POST /webhook HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n'],
  'the target of another host': ['invalid_target', 400, 'GET http://b/stats HTTP/1.1\r\nHost: a\r\n\r\n'],
  'an asterisk': ['invalid_target', 400, 'OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n'],
  'an unknown expectation': ['unknown_expectation', 417, head('Host: a', 'Expect: 200-ok')],
  'a CONNECT': ['connect', 400, 'CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n'],
};

describe('a request refused before it has a route', () => {
  for (const [what, [reason, status, bytes]] of Object.entries(refused)) {
    test(`is logged and counted with its reason, ${what}: ${reason}`, async (t) => {
      const app = await startTestApp(t);
      assert.deepEqual(statusesIn(await exchangeRaw(app.port, bytes)), [status]);
      const [entry, ...others] = app.logs.filter(({ event }) => event === 'request');
      assert.deepEqual(others, []);
      assert.deepEqual([entry?.['level'], entry?.['path'], entry?.['status'], entry?.['reason']], ['WARNING', '(unmatched)', status, reason]);
      assert.equal(entry?.['remote_address'], '127.0.0.1');
      assert.equal(await app.metric(`http_requests_refused_total{reason="${reason}"}`), 1);
    });
  }

  test('one that does not come to its end too, and one that comes too late', async (t) => {
    const app = await startTestApp(t, { HEADER_TIMEOUT_MS: '300' });
    const ended = connectRaw(t, app.port);
    ended.socket.end('GET /sta');
    assert.deepEqual(statusesIn(await ended.closed()), [400]);
    const late = connectRaw(t, app.port);
    late.write('GET /sta');
    assert.deepEqual(statusesIn(await late.closed()), [408]);
    const reasons = app.logs.filter(({ event }) => event === 'request').map(({ status, reason }) => [status, reason]);
    assert.deepEqual(reasons, [[400, 'incomplete'], [408, 'timed_out']]);
    assert.equal(await app.metric('http_requests_refused_total{reason="incomplete"}'), 1);
    assert.equal(await app.metric('http_requests_refused_total{reason="timed_out"}'), 1);
  });

  test('behind one whose answer is due it has none of its own, and is told all the same', async (t) => {
    const release = Promise.withResolvers<void>();
    const app = await startTestApp(t, {}, async (options) => {
      const storage = await openStorage(options);
      return { ...storage, append: (one) => release.promise.then(() => storage.append(one)) };
    });
    const body = JSON.stringify(message());
    const sender = connectRaw(t, app.port);
    sender.write(`POST /webhook HTTP/1.1\r\nHost: a\r\nX-Signature: ${sign(body)}\r\nContent-Length: ${body.length}\r\n\r\n${body}garbage\r\n\r\n`);
    const entry = await waitFor('the entry', () => app.logs.find(({ reason }) => reason === 'malformed'));
    assert.deepEqual([entry['event'], entry['status'], entry['remote_address']], ['request', null, '127.0.0.1']);
    release.resolve();
    assert.deepEqual(statusesIn(await sender.closed()), [200]);
    assert.equal(await app.metric('http_requests_refused_total{reason="malformed"}'), 1);
  });

  test('one that has a route has no such reason, nor has what comes behind the last request', async (t) => {
    const app = await startTestApp(t);
    await exchangeRaw(app.port, 'GET /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\ngarbage\r\n\r\n');
    await exchangeRaw(app.port, 'POST /webhook HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n');
    assert.deepEqual(app.logs.filter(({ event }) => event === 'request').map(({ status, reason }) => [status, reason]), [[404, undefined], [400, undefined]]);
    assert.equal(await app.metric('http_requests_refused_total{reason="malformed"}'), 0);
  });
});

const FOUR_MB = 'x'.repeat(4 * 1024 * 1024);

/** Ten clients at once that each send all of it before they look at an answer; what each got, or its error. */
function sendTogether(scope: Scope, port: number, bytes: string, tls: boolean): Promise<string[]> {
  return Promise.all(Array.from({ length: 10 }, () => new Promise<string>((resolve) => {
    const options = { port, host: '127.0.0.1' };
    const socket = tls ? connectTls({ ...options, rejectUnauthorized: false }) : connect(options);
    scope.after(() => void socket.destroy());
    let received = '';
    socket.on('data', (chunk) => { received += String(chunk); }).on('error', ({ message: problem }) => resolve(`${received} ${problem}`));
    socket.on('close', () => resolve(received));
    socket.pause();
    socket.write(bytes, () => socket.resume());
  })));
}

describe('ten clients that are still sending 4 MB when they are refused can all read why', () => {
  const kinds: Record<string, readonly [number[], string]> = {
    'a head that is too large': [[431], `GET / HTTP/1.1\r\nHost: a\r\nX: ${FOUR_MB}\r\n\r\n`],
    'a head of too many lines': [[431], `GET / HTTP/1.1\r\nHost: a\r\n${'A:\r\n'.repeat(200)}\r\n${FOUR_MB}`],
    'bytes that are no request': [[400], `garbage\r\n\r\n${FOUR_MB}`],
    'a head that could be read in two ways': [[400], `POST /webhook HTTP/1.1\r\nHost: a\r\nHost: a\r\nContent-Length: ${FOUR_MB.length}\r\n\r\n${FOUR_MB}`],
    'a CONNECT': [[400], `CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n${FOUR_MB}`],
    'an unknown expectation': [[417], `POST /webhook HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\nContent-Length: ${FOUR_MB.length}\r\n\r\n${FOUR_MB}`],
    'an upgrade': [[200], `GET /health/live HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n${FOUR_MB}`],
    'a declared body that is too large': [[413], `POST /webhook HTTP/1.1\r\nHost: a\r\nContent-Length: ${FOUR_MB.length}\r\n\r\n${FOUR_MB}`],
    'a chunked one': [[413], `POST /webhook HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${FOUR_MB.length.toString(16)}\r\n${FOUR_MB}\r\n0\r\n\r\n`],
    'a body that no route wants': [[404], `POST /nothing HTTP/1.1\r\nHost: a\r\nContent-Length: ${FOUR_MB.length}\r\n\r\n${FOUR_MB}`],
    'a head that is too large behind others': [[200, 200], `${LIVE}${LIVE}GET / HTTP/1.1\r\nHost: a\r\nX: ${FOUR_MB}\r\n\r\n`],
    'more requests than may be ahead': [Array.from({ length: 100 }, () => 200), LIVE.repeat(100) + LIVE.repeat(80_000)],
  };
  for (const [what, [statuses, bytes]] of Object.entries(kinds)) {
    for (const tls of hasOpenssl ? [false, true] : [false]) {
      test(`${what}${tls ? ', over TLS' : ''}`, async (t) => {
        const { certificate, key } = tls ? makeCertificate(temporaryFolder(t), 'server') : { certificate: '', key: '' };
        const app = await startTestApp(t, { PRIVATE_PORT: '0', ...(tls && { TLS_CERT_FILE: certificate, TLS_KEY_FILE: key }) });
        for (const answer of await sendTogether(t, app.port, bytes, tls)) {
          assert.deepEqual(statusesIn(answer), statuses, answer.slice(0, 300));
          assert.ok(answer.endsWith('}'), answer.slice(-100));
        }
        await waitFor('their connections to be gone', async () => (await app.metric('http_connections_open') ?? 99) <= 2);
      });
    }
  }
});

describe('a refused client that does not go', () => {
  test('is cut off once it has sent too much', async (t) => {
    const app = await startTestApp(t);
    const socket = connect({ port: app.port, host: '127.0.0.1', allowHalfOpen: true }).on('error', () => {});
    t.after(() => void socket.destroy());
    socket.resume();
    socket.write('garbage\r\n\r\n');
    const more = Buffer.alloc(1024 * 1024);
    let sent = 0;
    const send = (error?: Error | null) => {
      if (!error && sent++ < 100) socket.write(more, send);
    };
    send();
    await waitFor('the end', () => socket.closed);
    assert.ok(sent < 100);
  });

  test('is cut off after some time where it hardly sends', async (t) => {
    const app = await startTestApp(t);
    const socket = connect({ port: app.port, host: '127.0.0.1', allowHalfOpen: true }).on('error', () => {});
    t.after(() => void socket.destroy());
    socket.resume();
    socket.write('garbage\r\n\r\n');
    await waitFor('the end', () => {
      // Only a write shows a client that the other side has gone for good.
      socket.write('x');
      return socket.closed;
    });
  });
});
