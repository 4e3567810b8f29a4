/** Several requests on one connection: which of them are executed, and whether each answer comes in its place. */
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { openStorage } from '../../src/storage/open.ts';
import { startTestApp } from '../support/app.ts';
import { message, sign } from '../support/messages.ts';
import { connectRaw, exchangeRaw, statusesIn } from '../support/raw-http.ts';
import { waitFor } from '../support/wait.ts';

const app = await startTestApp({ after });
const LIVE = 'GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n';

function signedPost(message_id: string): string {
  const body = JSON.stringify(message({ message_id }));
  return `POST /webhook HTTP/1.1\r\nHost: a\r\nX-Signature: ${sign(body)}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}

async function storedIds(): Promise<string[]> {
  const { items }: { items: { message_id: string }[] } = JSON.parse(await (await app.get('/messages?limit=100')).text());
  return items.map(({ message_id }) => message_id);
}

describe('what follows a refusal that ends its connection is not executed', () => {
  const large = 'x'.repeat(100_000);
  const refusals: Record<string, [string, number]> = {
    'a body too large to skip': [`PUT /stats HTTP/1.1\r\nHost: a\r\nContent-Length: ${large.length}\r\n\r\n${large}`, 405],
    'an unknown expectation': ['GET /stats HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n', 417],
    'a chunked body over the limit': [
      `POST /webhook HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${large.length.toString(16)}\r\n${large}\r\n0\r\n\r\n`, 413],
    'a head that could be read in two ways': ['GET /stats HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n', 400],
    'bytes that are no request': ['garbage\r\n\r\n', 400],
  };
  for (const [what, [bytes, status]] of Object.entries(refusals)) {
    test(what, async () => {
      const message_id = `after ${what}`;
      assert.deepEqual(statusesIn(await exchangeRaw(app.port, bytes + signedPost(message_id))), [status]);
      assert.ok(!(await storedIds()).includes(message_id));
    });
  }
});

describe('answers keep their place', () => {
  for (const [what, tail] of [
    ['garbage', 'garbage\r\n\r\n'], ['CONNECT', 'CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n'], ['an unreadable head', 'GET / HTTP/9\r\n\r\n'],
  ] as const) {
    test(`before ${what}: the due ones come, and then the end`, async () => {
      const answer = await exchangeRaw(app.port, signedPost(`before ${what}`) + LIVE + tail);
      assert.deepEqual(statusesIn(answer), [200, 200]);
    });
  }

  test('also where a later request is done before an earlier one', async (t) => {
    const release = Promise.withResolvers<void>();
    const slow = await startTestApp(t, {}, async (options) => {
      const storage = await openStorage(options);
      return { ...storage, append: (one) => release.promise.then(() => storage.append(one)) };
    });
    const connection = connectRaw(t, slow.port);
    connection.write(`${signedPost('slow')}${LIVE}garbage\r\n\r\n`);
    await waitFor('the later one', () => slow.logs.some(({ path }) => path === '/health/live'));
    assert.equal(connection.received(), '');
    release.resolve();
    assert.deepEqual(statusesIn(await connection.closed()), [200, 200]);
  });

  test('also where they are longer than the client has taken so far', async (t) => {
    const text = '😀'.repeat(4096);
    await Promise.all(Array.from({ length: 100 }, (_, index) => app.send({ message_id: `long ${index}`, from: '+99', text })));
    const page = 'GET /messages?from=%2B99&limit=100 HTTP/1.1\r\nHost: a\r\n\r\n';
    const connection = connectRaw(t, app.port);
    connection.socket.pause();
    connection.write(`${page.repeat(3)}garbage\r\n\r\n`);
    await waitFor('the answers', () => app.logs.filter(({ path, latency_ms }) => path === '/messages' && latency_ms !== null).length >= 3);
    connection.socket.resume();
    const answer = await connection.closed();
    assert.deepEqual(statusesIn(answer), [200, 200, 200]);
    assert.equal(answer.match(/"total":100,"limit":100,"offset":0\}/g)?.length, 3);
  });
});

test('a client that asks far ahead gets the answers that are due, and then the end', async () => {
  const statuses = statusesIn(await exchangeRaw(app.port, LIVE.repeat(500)));
  assert.deepEqual([statuses.length, new Set(statuses)], [100, new Set([200])]);
});

test('a reset behind a CONNECT does not end the process', async (t) => {
  const appending = Promise.withResolvers<void>();
  const release = Promise.withResolvers<void>();
  const slow = await startTestApp(t, {}, async (options) => {
    const storage = await openStorage(options);
    return {
      ...storage,
      append(one) {
        appending.resolve();
        return release.promise.then(() => storage.append(one));
      },
    };
  });
  const connection = connectRaw(t, slow.port);
  connection.write(`${signedPost('before the reset')}CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n`);
  await appending.promise;
  connection.socket.resetAndDestroy();
  await waitFor('its end', async () => await slow.metric('http_connections_open') === 1);
  release.resolve();
  await waitFor('the log entry', () => slow.logs.some(({ event }) => event === 'webhook'));
  assert.equal((await slow.get('/health/live')).status, 200);
});

test('a client that ends its side right after its request gets its answer', async (t) => {
  const connection = connectRaw(t, app.port);
  connection.socket.end(signedPost('half-closed'));
  assert.deepEqual(statusesIn(await connection.closed()), [200]);
});

test('a body in more pieces than anyone needs is refused', async () => {
  const answer = await exchangeRaw(app.port,
    `POST /webhook HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${'1\r\nx\r\n'.repeat(10_000)}0\r\n\r\n`);
  assert.deepEqual(statusesIn(answer), [400]);
});
