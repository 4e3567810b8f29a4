/** GET /refusals: what an operator looks at who is asked why a sender gets no 200. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createRefusals } from '../src/observe/refusals.ts';
import { StorageUnavailable } from '../src/errors.ts';
import { openStorage } from '../src/storage/open.ts';
import { startTestApp, type TestApp } from './support/app.ts';
import { message, sign } from './support/messages.ts';
import { connectRaw } from './support/raw-http.ts';
import type { Scope } from './support/temporary.ts';
import { waitFor } from './support/wait.ts';

type Item = Readonly<Record<string, unknown>>;

async function readRefusals(app: TestApp): Promise<Item[]> {
  const { items }: { items: Item[] } = JSON.parse(await (await app.get('/refusals')).text());
  return items;
}

/** What one request leaves there, beside its time, id and address. */
async function refusedBy(app: TestApp, send: () => Promise<unknown>): Promise<Item> {
  const before = (await readRefusals(app)).length;
  await send();
  const items = await waitFor('it', async () => {
    const found = await readRefusals(app);
    return found.length > before && found;
  });
  assert.equal(items.length, before + 1);
  const { at, request_id, remote_address, ...rest } = items[0] ?? {};
  const entries = app.logs.filter((line) => line['request_id'] === request_id);
  const answered = entries.find(({ event }) => event === 'request');
  assert.deepEqual([typeof at, remote_address, answered?.['remote_address'], answered?.['status']], ['string', '127.0.0.1', '127.0.0.1', rest['status']]);
  return rest;
}

async function sendRaw(scope: Scope, app: TestApp, bytes: string): Promise<void> {
  const connection = connectRaw(scope, app.port);
  connection.write(bytes);
  connection.socket.end();
  await connection.closed();
}

const post = (headers: string, body = '') => `POST /webhook HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${headers}\r\n\r\n${body}`;

describe('every way in which a request is refused is there', () => {
  test('with the reason of a signature', async (t) => {
    const app = await startTestApp(t);
    const body = JSON.stringify(message());
    const withSignature = (headers: Record<string, string>) => refusedBy(app, () => fetch(`${app.url}/webhook`, { method: 'POST', body, headers }));
    const invalid = { status: 401, result: 'invalid_signature' };
    assert.deepEqual(await withSignature({}), { ...invalid, reason: 'missing' });
    assert.deepEqual(await withSignature({ 'X-Signature': 'sha256=12' }), { ...invalid, reason: 'malformed' });
    assert.deepEqual(await withSignature({ 'X-Signature': sign(`${body} `) }), { ...invalid, reason: 'mismatch' });
  });

  test('with what is wrong with a body', async (t) => {
    const app = await startTestApp(t);
    const body = JSON.stringify({ ...message(), ts: 'yesterday', from: 5, text: 'x'.repeat(5000), [`other-${'k'.repeat(50)}`]: 1 });
    assert.deepEqual(await refusedBy(app, () => app.post(body)), {
      status: 422, result: 'invalid_payload', errors: [
        { loc: ['body', 'from'], type: 'string_type' }, { loc: ['body', 'ts'], type: 'timestamp' }, { loc: ['body', 'text'], type: 'string_too_long' },
      ],
    });
    assert.deepEqual(await refusedBy(app, () => app.post('{')), { status: 422, result: 'invalid_payload', errors: [{ loc: ['body'], type: 'json_invalid' }] });
  });

  test('where the body is not what it may be', async (t) => {
    const app = await startTestApp(t, { MAX_BODY_BYTES: '100' });
    assert.deepEqual(await refusedBy(app, () => app.post('x'.repeat(101))), { status: 413, result: 'payload_too_large', reason: 'payload_too_large' });
    assert.deepEqual(await refusedBy(app, () => app.post('{}', { 'Content-Encoding': 'gzip' })), { status: 415, result: 'unsupported_encoding', reason: 'unsupported_encoding' });
    assert.deepEqual(await refusedBy(app, () => sendRaw(t, app, post('Content-Length: 50', 'half'))),
      { status: 408, result: 'aborted', reason: 'connection closed' });
  });

  test('where the service cannot', async (t) => {
    const app = await startTestApp(t, {}, async (options) => ({
      ...await openStorage(options), append: () => Promise.reject(new StorageUnavailable('the disk is full')),
    }));
    assert.deepEqual(await refusedBy(app, () => app.send()), { status: 503, result: 'unavailable', reason: 'the disk is full' });
    const unset = await startTestApp(t, { WEBHOOK_SECRET: '' });
    assert.deepEqual(await refusedBy(unset, () => unset.send()), { status: 503, result: 'unavailable', reason: 'no secret is set' });
  });

  test('before it has a route', async (t) => {
    const app = await startTestApp(t);
    const refused = (bytes: string) => refusedBy(app, () => sendRaw(t, app, bytes));
    assert.deepEqual(await refused('garbage\r\n\r\n'), { status: 400, result: 'refused', reason: 'malformed' });
    assert.deepEqual(await refused('GET /stats HTTP/1.1\r\n\r\n'), { status: 400, result: 'refused', reason: 'invalid_host' });
    assert.deepEqual(await refused(`GET /${'x'.repeat(20_000)} HTTP/1.1\r\nHost: a\r\n\r\n`), { status: 431, result: 'refused', reason: 'head_too_large' });
    assert.deepEqual(await refused('GET /stats HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n'), { status: 417, result: 'refused', reason: 'unknown_expectation' });
  });
});

test('nothing of a request is there: no header, no path, no value of its body', async (t) => {
  const app = await startTestApp(t);
  const marker = 'marker';
  const values = { message_id: `${marker}-id`, from: `+49${marker}`, to: marker, ts: marker, text: `${marker}\0`, [marker]: marker };
  await app.post(JSON.stringify(values));
  await app.post(marker);
  await app.post(JSON.stringify(message({ message_id: `${marker}\u0007` })));
  await fetch(`${app.url}/webhook?${marker}`, { method: 'POST', body: marker, headers: { 'X-Signature': marker, [marker]: marker, 'User-Agent': marker } });
  await app.post('{}', { 'Content-Encoding': marker });
  await sendRaw(t, app, `${marker} /${marker} HTTP/1.1\r\nHost: ${marker}\r\n${marker}\r\n\r\n`);
  await sendRaw(t, app, `GET /${marker} HTTP/1.1\r\nHost: a b ${marker}\r\nConnection: close\r\n\r\n`);
  const text = await (await app.get('/refusals')).text();
  assert.equal(JSON.parse(text).items.length, 7);
  assert.equal(text.includes(marker), false);
});

test('what was answered 200, or is no webhook, is not there', async (t) => {
  const app = await startTestApp(t);
  const { message_id } = message();
  await app.send({ message_id });
  await app.send({ message_id, text: 'differs' });
  await app.get('/nothing');
  await app.get('/messages?limit=0');
  assert.deepEqual(await readRefusals(app), []);
});

test('the last 200 are kept, newest first', () => {
  let now = 0;
  const refusals = createRefusals(() => now);
  for (now = 1; now <= 250; now += 1) {
    refusals.add({ requestId: `r${now}`, status: 401, result: 'invalid_signature', reason: 'missing', remoteAddress: null });
  }
  const kept = refusals.newestFirst();
  assert.deepEqual([kept.length, kept[0]?.at, kept[0]?.requestId, kept.at(-1)?.requestId], [200, 250, 'r250', 'r51']);
});
