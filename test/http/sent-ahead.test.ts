/** Requests that are sent at once, far more than will be answered soon: how many node:http makes of them, and whose are kept. */
import assert from 'node:assert/strict';
import { channel } from 'node:diagnostics_channel';
import { IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { describe, test } from 'node:test';
import { openStorage } from '../../src/storage/open.ts';
import { startTestApp } from '../support/app.ts';
import { hasOpenssl, makeCertificate } from '../support/certificates.ts';
import { message, sign } from '../support/messages.ts';
import { connectRaw, exchangeRaw, statusesIn, type RawConnection } from '../support/raw-http.ts';
import { temporaryFolder, type Scope } from '../support/temporary.ts';
import { waitFor } from '../support/wait.ts';

const LIVE = 'GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n';
const PAGE = 'GET /messages?limit=100 HTTP/1.1\r\nHost: a\r\n\r\n';
const STREAM = 'GET /messages/stream HTTP/1.1\r\nHost: a\r\n\r\n';
const UNREADABLE = 'GET /stats HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n';

/** How many requests to /health/live node:http made from now on, in this process. */
function countMade(scope: Scope): () => number {
  let made = 0;
  const started = channel('http.server.request.start');
  const count = (event: unknown) => {
    if (typeof event !== 'object' || event === null || !('request' in event)) return;
    if (event.request instanceof IncomingMessage && event.request.url === '/health/live') made += 1;
  };
  started.subscribe(count);
  scope.after(() => void started.unsubscribe(count));
  return () => made;
}

describe('of requests in one packet, no more are made than may be ahead, and the one that is too many', () => {
  for (const tls of [false, true]) {
    test(`behind a stream${tls ? ', over TLS' : ''}`, { skip: tls && !hasOpenssl }, async (t) => {
      const { certificate, key } = tls ? makeCertificate(temporaryFolder(t), 'server') : { certificate: '', key: '' };
      const app = await startTestApp(t, tls ? { TLS_CERT_FILE: certificate, TLS_KEY_FILE: key } : {});
      const made = countMade(t);
      const options = { port: app.port, host: '127.0.0.1' };
      const socket = tls ? connectTls({ ...options, rejectUnauthorized: false }) : connect(options);
      t.after(() => void socket.destroy());
      let received = '';
      socket.on('data', (chunk) => { received += String(chunk); }).write(STREAM + LIVE.repeat(300));
      await waitFor('the stream', () => statusesIn(received).length === 1);
      assert.equal(made(), 100);
    });
  }

  test('behind others of their kind', async (t) => {
    const app = await startTestApp(t);
    const made = countMade(t);
    assert.equal(statusesIn(await exchangeRaw(app.port, LIVE.repeat(1000))).length, 100);
    assert.equal(made(), 101);
  });

  test('behind a refusal that ends the connection', async (t) => {
    const app = await startTestApp(t);
    const made = countMade(t);
    assert.deepEqual(statusesIn(await exchangeRaw(app.port, UNREADABLE + LIVE.repeat(1000))), [400]);
    assert.ok(made() <= 1, `${made()} made`);
  });
});

describe('where many connections send as far ahead as they may, those with most for longest make room', () => {
  const post = (message_id: string) => {
    const body = JSON.stringify(message({ message_id }));
    return `POST /webhook HTTP/1.1\r\nHost: a\r\nX-Signature: ${sign(body)}\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  };
  const firsts: Record<string, (index: number) => string> = {
    'behind a read, waiting': () => PAGE,
    'behind a message, answered': (index) => post(`m${index}`),
  };
  for (const [what, first] of Object.entries(firsts)) {
    test(`${what}; the others get their answers`, async (t) => {
      const release = Promise.withResolvers<void>();
      const app = await startTestApp(t, {}, async (options) => {
        const storage = await openStorage(options);
        return {
          ...storage,
          append: (one) => release.promise.then(() => storage.append(one)),
          list: (query) => release.promise.then(() => storage.list(query)),
        };
      });
      const open = async () => await app.metric('http_connections_open') ?? 0;
      const ahead = Array.from({ length: 120 }, () => connectRaw(t, app.port));
      await waitFor('the connections', async () => await open() > 120);
      for (const [index, connection] of ahead.entries()) connection.write(first(index) + LIVE.repeat(99));
      await waitFor('room', async () => await open() < 95);
      assert.equal((await app.get('/stats')).status, 200);
      release.resolve();
      const hasAll = ({ received }: RawConnection) => statusesIn(received()).length === 100;
      await waitFor('the answers', () => ahead.every((connection) => connection.socket.closed || hasAll(connection)));
      assert.ok(ahead.filter(hasAll).length > 50);
    });
  }
});
