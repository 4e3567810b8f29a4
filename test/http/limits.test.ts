/** Clients that are too many, too slow or too greedy, with limits small enough to wait for. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { startTestApp } from '../support/app.ts';
import { connectRaw, statusesIn, type RawConnection } from '../support/raw-http.ts';
import type { Scope } from '../support/temporary.ts';
import { waitFor } from '../support/wait.ts';

const LIVE = 'GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n';
const isClosed = ({ socket }: RawConnection) => socket.closed;

describe('with more connections than may be open', () => {
  test('the longest idle one makes room, answered or silent', async (t) => {
    const app = await startTestApp(t, { MAX_CONNECTIONS: '3' });
    const silent = connectRaw(t, app.port);
    await waitFor('the silent connection', () => silent.socket.readyState === 'open');
    const answered = connectRaw(t, app.port);
    answered.write(LIVE);
    await waitFor('its answer', () => statusesIn(answered.received()).length === 1);
    const third = connectRaw(t, app.port);
    third.write(LIVE);
    await waitFor('its answer', () => statusesIn(third.received()).length === 1);

    const fourth = connectRaw(t, app.port);
    fourth.write(LIVE);
    await waitFor('its answer', () => statusesIn(fourth.received()).length === 1);
    await waitFor('room', () => isClosed(silent));
    assert.ok(!isClosed(answered) && !isClosed(third));

    answered.write(LIVE);
    await waitFor('a second answer', () => statusesIn(answered.received()).length === 2);
    const fifth = connectRaw(t, app.port);
    fifth.write(LIVE);
    await waitFor('its answer', () => statusesIn(fifth.received()).length === 1);
    await waitFor('room', () => isClosed(third));
    assert.ok(!isClosed(answered) && !isClosed(fourth));
    assert.equal(app.logs.filter(({ event }) => event === 'unexpected_error').length, 0);
  });

  const slowHead = 'POST /webhook HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n';
  /** Busy ones of one client: each has begun a body that does not come. */
  async function openBusy(scope: Scope, port: number, count: number, localAddress: string): Promise<RawConnection[]> {
    const busy = [];
    for (let opened = 0; opened < count; opened += 1) {
      const connection = connectRaw(scope, port, localAddress);
      connection.write(slowHead);
      await waitFor('a body', () => statusesIn(connection.received())[0] === 100);
      busy.push(connection);
    }
    return busy;
  }
  async function isAnswered(scope: Scope, port: number, localAddress: string): Promise<boolean> {
    const connection = connectRaw(scope, port, localAddress);
    connection.write(LIVE);
    await waitFor('an answer, or the end', () => statusesIn(connection.received())[0] === 200 || isClosed(connection));
    return !isClosed(connection);
  }

  test('all busy, the client that has most of them makes room with what has lasted longest', async (t) => {
    const app = await startTestApp(t, { MAX_CONNECTIONS: '4' });
    const few = await openBusy(t, app.port, 1, '127.0.0.2');
    const many = await openBusy(t, app.port, 3, '127.0.0.1');
    assert.ok(await isAnswered(t, app.port, '127.0.0.2'));
    await waitFor('room', () => many.map(isClosed).join() === 'true,false,false');
    assert.ok(!few.some(isClosed));
    assert.equal(app.logs.filter(({ event }) => event === 'unexpected_error').length, 0);
  });

  test('the client that has most of them makes room with an idle one first, not another client', async (t) => {
    const app = await startTestApp(t, { MAX_CONNECTIONS: '4' });
    assert.ok(await isAnswered(t, app.port, '127.0.0.2'));
    const many = await openBusy(t, app.port, 2, '127.0.0.1');
    const idle = connectRaw(t, app.port);
    idle.write(LIVE);
    await waitFor('its answer', () => statusesIn(idle.received())[0] === 200);
    assert.ok(await isAnswered(t, app.port, '127.0.0.3'));
    await waitFor('room', () => isClosed(idle));
    assert.ok(!many.some(isClosed));
  });

  test('whoever has most of them, all busy, gets no more', async (t) => {
    const app = await startTestApp(t, { MAX_CONNECTIONS: '4' });
    const few = await openBusy(t, app.port, 1, '127.0.0.2');
    const many = await openBusy(t, app.port, 3, '127.0.0.1');
    assert.equal(await isAnswered(t, app.port, '127.0.0.1'), false);
    assert.ok(![...few, ...many].some(isClosed));
    many[2]?.socket.destroy();
    await waitFor('the count', async () => await app.metric('http_connections_refused_total') === 1);
  });

  test('unfinished heads and unread answers of one client make room for others, too', async (t) => {
    const app = await startTestApp(t, { MAX_CONNECTIONS: '6' });
    const heads = Array.from({ length: 3 }, () => connectRaw(t, app.port));
    for (const { socket } of heads) socket.write('GET /');
    const unread = Array.from({ length: 3 }, () => connectRaw(t, app.port));
    for (const { socket } of unread) socket.pause().write('GET /messages/stream HTTP/1.1\r\nHost: a\r\n\r\n');
    for (const last of ['2', '3', '4', '5', '6']) assert.ok(await isAnswered(t, app.port, `127.0.0.${last}`), last);
    await waitFor('room', () => [...heads, ...unread].filter(isClosed).length >= 3);
  });

  test('and none of them idle, the new one is refused and counted', async (t) => {
    const app = await startTestApp(t, { MAX_CONNECTIONS: '1' });
    const busy = connectRaw(t, app.port);
    busy.write('POST /webhook HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n');
    await waitFor('the busy connection', () => statusesIn(busy.received())[0] === 100);
    const refused = connectRaw(t, app.port);
    refused.write(LIVE);
    assert.equal(await refused.closed(), '');
    busy.write('123456789');
    await busy.closed();
    await waitFor('the count', async () => await app.metric('http_connections_refused_total') === 1);
  });
});

describe('a client that is too slow', () => {
  // Only the limit that a test is about is small, so that a busy machine meets no other.
  const quickHead = { HEADER_TIMEOUT_MS: '300' };
  const quickRequest = { REQUEST_TIMEOUT_MS: '600' };
  const quickNext = { IDLE_TIMEOUT_MS: '300' };

  test('with its head is answered 408 and closed', async (t) => {
    const app = await startTestApp(t, quickHead);
    const slow = connectRaw(t, app.port);
    slow.write('GET /health/live HTTP/1.1\r\nHost:');
    assert.deepEqual(statusesIn(await slow.closed()), [408]);
  });

  test('with its body is answered 408 once, logged as aborted, and closed', async (t) => {
    const app = await startTestApp(t, quickRequest);
    const slow = connectRaw(t, app.port);
    slow.write('POST /webhook HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n');
    const trickle = setInterval(() => slow.write('x'), 50);
    t.after(() => clearInterval(trickle));
    const answer = await slow.closed();
    assert.deepEqual(statusesIn(answer), [408]);
    const entry = app.logs.find(({ event }) => event === 'webhook');
    assert.deepEqual([entry?.['result'], entry?.['reason']], ['aborted', 'timed out']);
  });

  test('with the body of a request that was answered before is closed without a second answer', async (t) => {
    const app = await startTestApp(t, quickRequest);
    const slow = connectRaw(t, app.port);
    slow.write('PUT /stats HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n');
    assert.deepEqual(statusesIn(await slow.closed()), [405]);
  });

  test('with saying anything is closed', async (t) => {
    const app = await startTestApp(t, quickHead);
    assert.deepEqual(statusesIn(await connectRaw(t, app.port).closed()).filter((status) => status !== 408), []);
  });

  test('with its next request is closed, also where it sends blank lines meanwhile', async (t) => {
    const app = await startTestApp(t, { ...quickNext, HEADER_TIMEOUT_MS: '700' });
    const blank = connectRaw(t, app.port);
    blank.write(LIVE);
    const trickle = setInterval(() => blank.write('\r\n'), 50);
    t.after(() => clearInterval(trickle));
    assert.deepEqual(statusesIn(await blank.closed()), [200]);
  });

  test('with its next request is closed', async (t) => {
    const app = await startTestApp(t, quickNext);
    const idle = connectRaw(t, app.port);
    idle.write(LIVE);
    assert.deepEqual(statusesIn(await idle.closed()), [200]);
  });

  test('with taking its answer is closed, however steadily it trickles', async (t) => {
    const app = await startTestApp(t, { REQUEST_TIMEOUT_MS: '1000' });
    const text = '😀'.repeat(4096);
    for (let index = 0; index < 100; index += 1) await app.send({ message_id: `m${index}`, text });
    const slow = connectRaw(t, app.port);
    slow.socket.pause();
    const page = 'GET /messages?limit=100 HTTP/1.1\r\nHost: a\r\n\r\n';
    slow.write(page.repeat(5));
    // Only a write shows a client that hardly reads that the other side has gone.
    const trickle = setInterval(() => {
      slow.socket.read(1);
      slow.write('x');
    }, 20);
    t.after(() => clearInterval(trickle));
    await waitFor('the end', () => isClosed(slow));
  });
});

test('a client that asks far ahead of the answers is closed, and nobody else is', async (t) => {
  const app = await startTestApp(t);
  const greedy = connectRaw(t, app.port);
  greedy.write('GET /messages HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(5000));
  await greedy.closed();
  assert.equal((await app.send()).status, 200);
});
