/** Clients that do not take their answers, or do not finish their bodies: what is begun for them, what is read of them, who makes room. */
import assert from 'node:assert/strict';
import { connect as connectTls } from 'node:tls';
import { describe, test } from 'node:test';
import { openStorage } from '../../src/storage/open.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { hasOpenssl, makeCertificate } from '../support/certificates.ts';
import { message, sign } from '../support/messages.ts';
import { connectRaw, statusesIn, type RawConnection } from '../support/raw-http.ts';
import { temporaryFolder, type Scope } from '../support/temporary.ts';
import { waitFor } from '../support/wait.ts';

const PAGE = 'GET /messages?limit=100 HTTP/1.1\r\nHost: a\r\n\r\n';
const LIVE = 'GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n';
/** JSON writes each of these as six characters. */
const LONG_TEXT = '\u0001'.repeat(4096);
/** A kernel takes some megabytes before an answer counts as unread. */
const MOST_BEGUN = 6;

/** A service whose page of 100 is 2.4 MB, and how many pages were begun. */
async function startWithLongPages(scope: Scope, environment: Record<string, string> = {}) {
  const begun = { pages: 0 };
  const filling = await startTestApp(scope);
  await Promise.all(Array.from({ length: 100 }, (_, index) => filling.send({ message_id: `m${index}`, text: LONG_TEXT })));
  await filling.stop();
  const app = await startTestApp(scope, { ...environment, DATABASE_URL: filling.databasePath }, async (options) => {
    const storage = await openStorage(options);
    return {
      ...storage,
      list(query) {
        begun.pages += 1;
        return storage.list(query);
      },
    };
  });
  return { app, begun };
}

/** Time for whatever is on its way to be begun: answers that others get meanwhile. */
async function askOthers(app: TestApp): Promise<void> {
  for (let asked = 0; asked < 20; asked += 1) assert.equal((await app.get('/stats')).status, 200);
}

function connectUnread(scope: Scope, port: number, bytes: string): RawConnection {
  const connection = connectRaw(scope, port);
  connection.socket.pause();
  connection.write(bytes);
  return connection;
}

/**
 * Asks, and again where the connection was closed: while what others have left is being given back a newcomer may have to make room itself,
 * which bounds memory, but gets in soon.
 */
function askBeside<Answer>(ask: () => Promise<Answer>): Promise<Answer> {
  return waitFor('an answer beside them', () => ask().catch((error: unknown) => {
    if (error instanceof TypeError) return undefined;
    throw error;
  }));
}

async function countItems(app: TestApp): Promise<number> {
  const page: { items: unknown[] } = JSON.parse(await (await app.get('/messages?limit=100')).text());
  return page.items.length;
}

describe('while a client does not take its answers', () => {
  test('no more of its requests are begun; all are answered once it does', async (t) => {
    const { app, begun } = await startWithLongPages(t);
    const unread = connectUnread(t, app.port, PAGE.repeat(30));
    await waitFor('the first', () => begun.pages > 0);
    await askOthers(app);
    assert.ok(begun.pages <= MOST_BEGUN, `${begun.pages} begun`);
    unread.socket.resume();
    await waitFor('every answer', () => statusesIn(unread.received()).length === 30);
  });

  test('over TLS neither', { skip: !hasOpenssl }, async (t) => {
    const { certificate, key } = makeCertificate(temporaryFolder(t), 'server');
    const { app, begun } = await startWithLongPages(t, { TLS_CERT_FILE: certificate, TLS_KEY_FILE: key });
    const socket = connectTls({ port: app.port, host: '127.0.0.1', rejectUnauthorized: false });
    t.after(() => socket.destroy());
    socket.pause();
    socket.write(PAGE.repeat(99));
    await waitFor('the first', () => begun.pages > 0);
    for (let asked = 0; asked < 20; asked += 1) assert.equal(await statusOverTls(app.port), 200);
    assert.ok(begun.pages <= MOST_BEGUN, `${begun.pages} begun`);
  });

  test('nothing behind a stream is begun', async (t) => {
    const { app, begun } = await startWithLongPages(t);
    const reader = connectRaw(t, app.port);
    reader.write(`GET /messages/stream HTTP/1.1\r\nHost: a\r\n\r\n${PAGE.repeat(98)}`);
    await waitFor('the stream', () => statusesIn(reader.received()).length === 1);
    await askOthers(app);
    assert.equal(begun.pages, 0);
  });

  test('a stream ends with its client, whatever that has sent behind it', async (t) => {
    const { app } = await startWithLongPages(t);
    for (const behind of [LIVE, PAGE.repeat(98), LIVE.repeat(10_000), 'GET /hea', 'garbage\r\n\r\n']) {
      const reader = connectRaw(t, app.port);
      reader.write(`GET /messages/stream HTTP/1.1\r\nHost: a\r\n\r\n${behind}`);
      await waitFor('the stream', () => reader.received().includes('retry:'));
      assert.equal(await app.metric('message_streams_open'), 1);
      reader.socket.end();
      await waitFor(`the end before ${behind.slice(0, 20)}`, async () => await app.metric('message_streams_open') === 0);
      await reader.closed();
      assert.deepEqual(statusesIn(reader.received()), [200]);
    }
  });

  test('files of the page count as well as messages do, HEAD does not', async (t) => {
    const app = await startTestApp(t);
    const files = connectUnread(t, app.port, 'GET /dashboard/main.js HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(100));
    const heads = connectUnread(t, app.port, 'HEAD /dashboard/main.js HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(100));
    const answered = (method: string) => app.logs.filter((line) => line['method'] === method && line['path'] === '/dashboard/main.js').length;
    await waitFor('every HEAD', () => answered('HEAD') === 100);
    await askOthers(app);
    for (const { socket } of [files, heads]) socket.resume();
    for (const { received } of [files, heads]) await waitFor('every answer', () => statusesIn(received()).length === 100);
  });

  test('what is behind a long read waits for it, and what is on other connections does not', async (t) => {
    const release = Promise.withResolvers<void>();
    const app = await startTestApp(t, {}, async (options) => {
      const storage = await openStorage(options);
      return { ...storage, list: (query, client) => release.promise.then(() => storage.list(query, client)) };
    });
    const waiting = connectRaw(t, app.port);
    waiting.write(PAGE + LIVE.repeat(50));
    await waitFor('the connection', async () => (await app.metric('http_connections_open') ?? 0) >= 2);
    await askOthers(app);
    assert.equal(app.logs.filter(({ path }) => path === '/health/live').length, 0);
    release.resolve();
    await waitFor('every answer', () => statusesIn(waiting.received()).length === 51);
  });

  test('many connections that each leave less than their share are bounded together', async (t) => {
    const { app } = await startWithLongPages(t);
    // A kernel takes some megabytes of each; one page more is below what one connection may leave.
    const modest = Array.from({ length: 80 }, () => connectUnread(t, app.port, PAGE.repeat(3)));
    await waitFor('some to make room', () => modest.some(({ socket }) => {
      socket.write(' ');
      return socket.closed;
    }));
    assert.equal(await askBeside(() => countItems(app)), 100);
    assert.equal((await app.send({ message_id: 'beside' })).status, 200);
  });

  test('its connection is not read on, and it ends', async (t) => {
    const { app } = await startWithLongPages(t, { REQUEST_TIMEOUT_MS: '2000' });
    const unread = connectUnread(t, app.port, PAGE.repeat(5));
    let isTaken = false;
    unread.socket.write(LIVE.repeat(1_000_000), (error) => { isTaken = !error; });
    await waitFor('the end', () => unread.socket.closed);
    assert.equal(isTaken, false);
    assert.equal((await app.send()).status, 200);
  });

  test('nor is that of one who sends small requests without end behind one that takes long', async (t) => {
    const release = Promise.withResolvers<void>();
    const app = await startTestApp(t, {}, async (options) => {
      const storage = await openStorage(options);
      return { ...storage, append: (one) => release.promise.then(() => storage.append(one)) };
    });
    const body = JSON.stringify(message());
    const flood = connectRaw(t, app.port);
    let isTaken = false;
    flood.write(`POST /webhook HTTP/1.1\r\nHost: a\r\nX-Signature: ${sign(body)}\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    flood.socket.write(LIVE.repeat(400_000), (error) => { isTaken = !error; });
    await waitFor('as many as may be ahead', () => app.logs.filter(({ path }) => path === '/health/live').length === 99);
    await askOthers(app);
    assert.equal(isTaken, false);
    release.resolve();
    await waitFor('the end', () => flood.socket.closed);
  });

  test('those who leave most unread make room, and others go on', async (t) => {
    const { app } = await startWithLongPages(t);
    const greedy = Array.from({ length: 60 }, () => connectRaw(t, app.port));
    const open = async () => await askBeside(() => app.metric('http_connections_open')) ?? 0;
    await waitFor('the connections', async () => await open() > 60);
    for (const { socket } of greedy) socket.pause().write(PAGE.repeat(10));
    await waitFor('room', async () => await open() < 45);
    assert.equal(await askBeside(() => countItems(app)), 100);
  });
});

async function statusOverTls(port: number): Promise<number | undefined> {
  const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false });
  let received = '';
  socket.on('data', (chunk) => { received += String(chunk); });
  socket.write('GET /stats HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
  await new Promise((resolve, reject) => socket.on('close', resolve).on('error', reject));
  return statusesIn(received)[0];
}

test('a hundred small requests at once are all begun', async (t) => {
  const release = Promise.withResolvers<void>();
  let appending = 0;
  const app = await startTestApp(t, {}, async (options) => {
    const storage = await openStorage(options);
    return {
      ...storage,
      append(one) {
        appending += 1;
        return release.promise.then(() => storage.append(one));
      },
    };
  });
  const posts = Array.from({ length: 100 }, (_, index) => {
    const body = JSON.stringify(message({ message_id: `m${index}` }));
    return `POST /webhook HTTP/1.1\r\nHost: a\r\nX-Signature: ${sign(body)}\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  });
  const sender = connectRaw(t, app.port);
  sender.write(posts.join(''));
  await waitFor('all of them', () => appending === 100);
  release.resolve();
  await waitFor('the answers', () => statusesIn(sender.received()).filter((status) => status === 200).length === 100);
});

describe('bodies that do not come to their end', () => {
  const LONGEST = 16 * 1024 * 1024;
  const head = `POST /webhook HTTP/1.1\r\nHost: a\r\nContent-Length: ${LONGEST}\r\nExpect: 100-continue\r\n\r\n`;

  async function openBodies(scope: Scope, app: TestApp, count: number): Promise<RawConnection[]> {
    const senders = Array.from({ length: count }, () => connectRaw(scope, app.port));
    for (const sender of senders) sender.write(head);
    await waitFor('their beginning', () => senders.every((sender) => statusesIn(sender.received())[0] === 100));
    return senders;
  }

  test('count by what came, not by what was declared', async (t) => {
    const app = await startTestApp(t, { MAX_BODY_BYTES: String(LONGEST) });
    const silent = await openBodies(t, app, 20);
    for (const sender of silent) sender.write('{');
    assert.equal((await app.send()).status, 200);
  });

  test('make room where they hold too much together: the heaviest is answered 503, small ones come through', async (t) => {
    const app = await startTestApp(t, { MAX_BODY_BYTES: String(LONGEST) });
    const senders = await openBodies(t, app, 5);
    const part = Buffer.alloc(LONGEST - 1, ' ');
    for (const sender of senders) sender.write(part);
    const refused = await waitFor('a refusal', () => senders.find((sender) => statusesIn(sender.received()).length === 2));
    assert.deepEqual(statusesIn(refused.received()), [100, 503]);
    assert.match(refused.received(), /^Retry-After: 1\r$/m);
    const [entry] = app.logs.filter(({ event }) => event === 'webhook');
    assert.deepEqual([entry?.['result'], entry?.['reason']], ['unavailable', 'too many bodies are being read']);

    const body = JSON.stringify(message());
    const small = connectRaw(t, app.port);
    small.write(`POST /webhook HTTP/1.1\r\nHost: a\r\nX-Signature: ${sign(body)}\r\nContent-Length: ${body.length}\r\nExpect: 100-continue\r\n\r\n`);
    await waitFor('its beginning', () => statusesIn(small.received())[0] === 100);
    small.write(body.slice(0, 10));
    await askOthers(app);
    small.write(body.slice(10));
    await waitFor('its answer', () => statusesIn(small.received())[1] === 200);
  });
});
