/** GET /messages/stream over real sockets. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { openStorage } from '../../src/storage/open.ts';
import { writeStreamPosition } from '../../src/query/positions.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { type EventReader, readEvents } from '../support/event-stream.ts';
import { message } from '../support/messages.ts';
import { connectRaw } from '../support/raw-http.ts';
import { ask } from '../support/request.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { waitFor } from '../support/wait.ts';

const stream = (app: TestApp, query = '') => `${app.url}/messages/stream${query}`;

async function store(app: TestApp, ids: readonly string[], changes: Parameters<typeof message>[0] = {}): Promise<void> {
  for (const message_id of ids) assert.equal((await app.send({ ...changes, message_id })).status, 200);
}

const numbered = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => `m${from + index}`);

describe('a stream', () => {
  test('has each message that is stored from now on, once, in the order of storing, as a listing has it', async (t) => {
    const app = await startTestApp(t);
    await store(app, ['before']);
    const reader = await readEvents(t, stream(app));
    assert.deepEqual([reader.status, reader.headers['content-type'], reader.headers['cache-control']], [200, 'text/event-stream', 'no-store']);
    await store(app, ['b'], { ts: '2025-01-15T10:00:00Z', text: 'line\nbreak \u2028 \u0085 é😀' });
    await store(app, ['a'], { ts: '2024-01-15T10:00:00Z', text: null });
    await store(app, ['b', 'c']);
    await reader.has(3);
    assert.deepEqual(reader.ids(), ['b', 'a', 'c']);
    const { items }: { items: unknown[] } = JSON.parse(await (await app.get('/messages?limit=1')).text());
    assert.deepEqual(JSON.parse(reader.events[1]?.data ?? ''), items[0]);
    assert.doesNotMatch(reader.text(), /[\u0085\u2028]/);
    assert.equal(new Set(reader.events.map(({ id }) => id)).size, 3);
  });

  test('tells where it begins, so that a reader that sees nothing can still come again', async (t) => {
    const app = await startTestApp(t);
    await store(app, ['before']);
    const reader = await readEvents(t, stream(app));
    await waitFor('the position', () => reader.lastEventId() !== '');
    reader.close();
    await store(app, ['meanwhile']);
    const again = await readEvents(t, stream(app), { 'Last-Event-ID': reader.lastEventId() });
    await again.has(1);
    assert.deepEqual(again.ids(), ['meanwhile']);
  });

  test('goes on after a position, of the header before that of the query, or from the start', async (t) => {
    const app = await startTestApp(t);
    await store(app, numbered(0, 5));
    const all = await readEvents(t, stream(app, '?after=start'));
    await all.has(5);
    assert.deepEqual(all.ids(), numbered(0, 5));
    const third = all.events[2]?.id ?? '';
    for (const [query, headers] of [
      [`?after=${third}`, {}], ['', { 'Last-Event-ID': third }], ['?after=start', { 'last-event-id': third }], [`?after=${third}`, { 'Last-Event-ID': '' }],
    ] as const) {
      const rest = await readEvents(t, stream(app, query), { ...headers });
      await rest.has(2);
      assert.deepEqual(rest.ids(), ['m3', 'm4'], query);
    }
    await store(app, ['m5']);
    await all.has(6);
  });

  test('filters as a listing does, what was stored before and what comes', async (t) => {
    const app = await startTestApp(t);
    const storeAll = async (round: string) => {
      for (const [message_id, from, text] of [['1', '+11', 'Apple'], ['2', '+12', 'apple'], ['3', '+11', null], ['4', '+11', '100% ÉCOLE']] as const) {
        await store(app, [`${round}${message_id}`], { from, text });
      }
    };
    await storeAll('a');
    const expected = [['?from=%2B11', ['1', '3', '4']], ['?from=+12', ['2']], ['?q=APPLE', ['1', '2']], ['?q=0%25%20%C3%89', ['4']], ['?q=%C3%A9', []], ['?from=%2B11&q=apple', ['1']]] as const;
    const readers = await Promise.all(expected.map(([query]) => readEvents(t, stream(app, `${query}&after=start`))));
    for (const [index, [query, ids]] of expected.entries()) {
      await readers[index]?.has(ids.length);
      assert.deepEqual(readers[index]?.ids(), ids.map((id) => `a${id}`), query);
    }
    await storeAll('b');
    for (const [index, [query, ids]] of expected.entries()) {
      await readers[index]?.has(2 * ids.length);
      assert.deepEqual(readers[index]?.ids(), [...ids.map((id) => `a${id}`), ...ids.map((id) => `b${id}`)], query);
    }
  });

  test('has the fields that are asked for, before it has reached the end and after', async (t) => {
    const app = await startTestApp(t);
    await store(app, ['m1', 'm2']);
    const open = (query: string) => readEvents(t, stream(app, `?after=start&${query}`));
    const [plain, both, one, filtered] = await Promise.all([open(''), open('fields=received_at,sequence'), open('message_id=m3'), open('fields=sequence&q=ell')]);
    await both.has(2);
    await store(app, ['m3']);
    const listed: { items: object[] } = JSON.parse(await (await app.get('/messages?fields=received_at,sequence')).text());
    for (const [reader, count] of [[plain, 3], [both, 3], [one, 1], [filtered, 3]] as const) await reader.has(count);
    const events = ({ events: all }: EventReader) => all.map(({ data }): object => JSON.parse(data));
    assert.deepEqual(events(both), listed.items);
    assert.deepEqual(events(plain), ['m1', 'm2', 'm3'].map((message_id) => message({ message_id })));
    assert.deepEqual(one.ids(), ['m3']);
    assert.deepEqual(events(filtered).map((event) => Object.keys(event).at(-1)), ['sequence', 'sequence', 'sequence']);
  });

  test('refuses what is no position as unprocessable, and one of another database as gone', async (t) => {
    const app = await startTestApp(t);
    await store(app, ['one']);
    const reader = await readEvents(t, stream(app, '?after=start'));
    await reader.has(1);
    const [generation = ''] = JSON.parse(Buffer.from(reader.lastEventId(), 'base64url').toString());
    for (const [query, headers] of [['?after=x', {}], ['?after=START', {}], ['?after=', { 'Last-Event-ID': 'x' }], [`?after=${reader.lastEventId()}x`, {}], ['?after=WyJnIiwiMS4wIl0', {}]] as const) {
      const answer = await ask(stream(app, query), { headers });
      assert.equal(answer.status, 422, query);
      assert.match(answer.body, /"loc":\["query","after"\].*"type":"stream_position"/);
    }
    for (const position of [{ generation: 'another', sequence: '1' }, { generation, sequence: '99' }]) {
      assert.equal((await ask(stream(app, `?after=${writeStreamPosition(position)}`))).status, 410);
      assert.equal((await ask(stream(app), { headers: { 'Last-Event-ID': writeStreamPosition(position) } })).status, 410);
    }
    assert.equal((await ask(stream(app, '?q=%ff'))).status, 400);
    assert.equal((await ask(stream(app, `?q=${'x'.repeat(257)}`))).status, 422);
    assert.equal((await ask(stream(app), { method: 'POST' })).headers.allow, 'GET, HEAD');
    const head = await ask(stream(app), { method: 'HEAD' });
    assert.deepEqual([head.status, head.headers['content-type']], [200, 'text/event-stream']);
  });

  test('misses nothing while messages come faster than parts are read, with many readers from many places', async (t) => {
    const app = await startTestApp(t);
    const MANY = 1500;
    const sending = Promise.all(Array.from({ length: 10 }, (_, sender) => store(app, numbered(sender * MANY / 10, (sender + 1) * MANY / 10))));
    const readers = [];
    for (let count = 0; count < 12; count += 1) readers.push(await readEvents(t, stream(app, '?after=start')));
    await sending;
    const resumed = await Promise.all(readers.slice(0, 4).map(async (reader, index) => {
      await reader.has(100 * (index + 1));
      const seen = reader.events.slice(0, 100 * (index + 1));
      return { seen, rest: await readEvents(t, stream(app), { 'Last-Event-ID': seen.at(-1)?.id ?? '' }) };
    }));
    for (const reader of readers) await reader.has(MANY);
    const [first] = readers;
    assert.equal(new Set(first?.ids()).size, MANY);
    for (const reader of readers) assert.deepEqual(reader.events, first?.events);
    for (const { seen, rest } of resumed) {
      await rest.has(MANY - seen.length);
      assert.deepEqual([...seen, ...rest.events], first?.events);
    }
  });
});

describe('streams', () => {
  test('are bounded in number, and counted', async (t) => {
    const app = await startTestApp(t, { MAX_STREAMS: '2' });
    const readers = await Promise.all([readEvents(t, stream(app)), readEvents(t, stream(app))]);
    assert.equal(await app.metric('message_streams_open'), 2);
    const refused = await ask(stream(app));
    assert.deepEqual([refused.status, refused.headers['retry-after']], [503, '1']);
    assert.equal(app.logs.find(({ event }) => event === 'read_refused')?.['reason'], 'no place for another stream');
    readers[0].close();
    await waitFor('a free place', async () => await app.metric('message_streams_open') === 1);
    assert.equal(await app.metric('message_streams_ended_total{end="client_gone"}'), 1);
    assert.equal((await readEvents(t, stream(app))).status, 200);
  });

  test('that are not read are dropped, whatever they would hold, and lose nothing by it', async (t) => {
    const app = await startTestApp(t);
    const raw = connectRaw(t, app.port);
    raw.socket.pause();
    raw.write('GET /messages/stream HTTP/1.1\r\nHost: a\r\n\r\n');
    const quick = await readEvents(t, stream(app));
    await waitFor('both', async () => await app.metric('message_streams_open') === 2);
    let sent = 0;
    const text = '😀'.repeat(4000);
    while (await app.metric('message_streams_ended_total{end="too_slow"}') === 0) {
      await Promise.all(numbered(sent, sent += 20).map((id) => store(app, [id], { text })));
      assert.ok(sent < 5000, 'it is still held');
    }
    await quick.has(sent);
    assert.equal(await app.metric('message_streams_open'), 1);
    raw.socket.resume();
    const received = await raw.closed();
    const position = [...Buffer.from(received, 'latin1').toString().matchAll(/^id: (.+)\n(?=data: .*\n\n)/gm)].at(-1)?.[1] ?? '';
    const rest = await readEvents(t, stream(app), { 'Last-Event-ID': position });
    const place = quick.events.findIndex(({ id }) => id === position);
    assert.ok(place > 0 && place < sent - 1);
    await rest.has(sent - place - 1);
    assert.deepEqual(rest.events, quick.events.slice(place + 1));
  });

  test('end with the service, at once', async (t) => {
    const app = await startTestApp(t);
    const readers = await Promise.all([readEvents(t, stream(app)), readEvents(t, stream(app, '?q=x'))]);
    const report = await app.stop();
    assert.equal(report.unanswered, 0);
    await waitFor('their ends', () => readers.every((reader) => reader.isEnded()));
    assert.deepEqual(app.logs.filter(({ event }) => event === 'stream_ended').map(({ end }) => end), ['shutting_down', 'shutting_down']);
  });

  test('end when their reader ends its side of the connection', async (t) => {
    const app = await startTestApp(t);
    const raw = connectRaw(t, app.port);
    raw.write('GET /messages/stream HTTP/1.1\r\nHost: a\r\n\r\n');
    await waitFor('the stream', () => raw.received().includes('id: '));
    raw.socket.end();
    await raw.closed();
    await waitFor('its end', async () => await app.metric('message_streams_open') === 0);
    const atOnce = connectRaw(t, app.port);
    atOnce.socket.end('GET /messages/stream HTTP/1.1\r\nHost: a\r\n\r\n');
    await atOnce.closed();
    await waitFor('its end too', async () => await app.metric('message_streams_open') === 0);
  });

  test('are answered in HTTP/1.0 too', async (t) => {
    const app = await startTestApp(t);
    const raw = connectRaw(t, app.port);
    raw.write('GET /messages/stream?after=start HTTP/1.0\r\n\r\n');
    await store(app, ['one']);
    await waitFor('the event', () => raw.received().includes('"message_id":"one"'));
    assert.doesNotMatch(raw.received(), /transfer-encoding/i);
    raw.socket.destroy();
  });
});

describe('a stream behind a token', () => {
  async function start(t: TestContext) {
    const file = join(temporaryFolder(t), 'token');
    const use = (token: string) => writeFileSync(file, token);
    use('first-reader-token');
    const app = await startTestApp(t, { READ_TOKEN_FILE: file });
    return { app, use };
  }

  test('is refused without, and closed when its token is revoked', async (t) => {
    const { app, use } = await start(t);
    assert.equal((await ask(stream(app))).status, 401);
    const reader = await readEvents(t, stream(app), { Authorization: 'Bearer first-reader-token' });
    assert.equal(reader.status, 200);
    app.reload();
    await store(app, ['one']);
    await reader.has(1);
    use('second-reader-token');
    app.reload();
    await waitFor('its end', () => reader.isEnded());
    assert.equal(app.logs.find(({ event }) => event === 'stream_ended')?.['end'], 'no_longer_authorized');
    assert.equal((await ask(stream(app), { headers: { Authorization: 'Bearer first-reader-token' } })).status, 401);
  });
});

test('a stream whose token is revoked while its answer is being made ends at once', async (t) => {
  const file = join(temporaryFolder(t), 'token');
  writeFileSync(file, 'first-reader-token');
  const asked = Promise.withResolvers<void>();
  const released = Promise.withResolvers<void>();
  const app = await startTestApp(t, { READ_TOKEN_FILE: file }, async (options) => {
    const storage = await openStorage(options);
    return {
      ...storage,
      async newestSequence() {
        asked.resolve();
        await released.promise;
        return storage.newestSequence();
      },
    };
  });
  const opening = readEvents(t, stream(app), { Authorization: 'Bearer first-reader-token' });
  await asked.promise;
  writeFileSync(file, 'second-reader-token');
  app.reload();
  released.resolve();
  const reader = await opening;
  await waitFor('its end', () => reader.isEnded());
  assert.equal(reader.text(), '');
  assert.equal(app.logs.find(({ event }) => event === 'stream_ended')?.['end'], 'no_longer_authorized');
});

test('GET /stats/minutes has the messages of the last hour by the minute in which they came', async (t) => {
  const app = await startTestApp(t);
  const begin = Date.now();
  await store(app, ['a', 'b', 'a']);
  const { minutes }: { minutes: { from: string; count: number }[] } = JSON.parse(await (await app.get('/stats/minutes')).text());
  assert.equal(minutes.length, 60);
  assert.equal(minutes.reduce((sum, { count }) => sum + count, 0), 2);
  const times = minutes.map(({ from }) => Date.parse(from));
  assert.ok(times.every((time, index) => time === (times[0] ?? NaN) + index * 60_000));
  assert.ok((times.at(-1) ?? NaN) + 60_000 > begin && (times.at(-1) ?? NaN) <= Date.now());
});
