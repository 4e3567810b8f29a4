import assert from 'node:assert/strict';
import { after, describe, test, type TestContext } from 'node:test';
import { StorageUnavailable } from '../../src/errors.ts';
import { openStorage } from '../../src/storage/open.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { message, sign } from '../support/messages.ts';
import { connectRaw, exchangeRaw, statusesIn } from '../support/raw-http.ts';
import { waitFor } from '../support/wait.ts';

const MAX_BODY_BYTES = 20_000;
const app = await startTestApp({ after }, { MAX_BODY_BYTES: String(MAX_BODY_BYTES) });

interface Refusal {
  readonly detail: readonly { readonly loc: readonly string[]; readonly msg: string; readonly type: string }[];
}

async function faultTypes(response: Response): Promise<string[]> {
  assert.equal(response.status, 422);
  const { detail }: Refusal = JSON.parse(await response.text());
  return detail.map(({ loc, type }) => `${loc.join('.')}: ${type}`);
}

/** The webhook's log entry of a request. */
function entryOf({ logs }: TestApp, response: Response) {
  const requestId = response.headers.get('x-request-id');
  return waitFor('the log entry', () => logs.find((line) => line['event'] === 'webhook' && line['request_id'] === requestId));
}

/** The bytes of a signed request, with more headers or another signature where a test wants them. */
function requestBytes(body: string, headers: readonly string[] = [`X-Signature: ${sign(body)}`]): string {
  const length = headers.some((header) => /^transfer-encoding/i.test(header)) ? [] : [`Content-Length: ${Buffer.byteLength(body)}`];
  return ['POST /webhook HTTP/1.1', 'Host: localhost', 'Connection: close', ...length, ...headers, '', body].join('\r\n');
}

async function total(): Promise<unknown> {
  const { total_messages }: { total_messages: number } = JSON.parse(await (await app.get('/stats')).text());
  return total_messages;
}

describe('a message with a right signature', () => {
  test('is acknowledged, stored and logged', async () => {
    const response = await app.send({ message_id: 'first', text: 'é😀' });
    assert.equal(response.status, 200);
    assert.equal(await response.text(), '{"status":"ok"}');
    const { ts, request_id, ...entry } = await entryOf(app, response);
    assert.deepEqual(entry, { level: 'INFO', event: 'webhook', message_id: 'first', dup: false, result: 'ok' });
    assert.match(String(ts), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    const { items }: { items: unknown[] } = JSON.parse(await (await app.get('/messages?limit=100')).text());
    assert.deepEqual(items.filter((item) => JSON.stringify(item).includes('"first"')), [message({ message_id: 'first', text: 'é😀' })]);
  });

  test('is stored once though sent twice, and a repeat that differs is a warning with a counter of its own', async () => {
    const before = [await app.metric('messages_stored_total'), await app.metric('webhook_duplicates_total'), await app.metric('webhook_conflicting_duplicates_total')];
    await app.send({ message_id: 'again' });
    const repeat = await app.send({ message_id: 'again' });
    const conflict = await app.send({ message_id: 'again', text: 'another' });
    assert.deepEqual([repeat.status, conflict.status, await conflict.text()], [200, 200, '{"status":"ok"}']);
    assert.deepEqual([(await entryOf(app, repeat))['dup'], (await entryOf(app, repeat))['level']], [true, 'INFO']);
    const entry = await entryOf(app, conflict);
    assert.deepEqual([entry['dup'], entry['conflicting'], entry['level'], entry['result']], [true, true, 'WARNING', 'ok']);
    const after = [await app.metric('messages_stored_total'), await app.metric('webhook_duplicates_total'), await app.metric('webhook_conflicting_duplicates_total')];
    assert.deepEqual(after.map((count, index) => (count ?? 0) - (before[index] ?? 0)), [1, 2, 1]);
  });

  test('may have any Content-Type, and identity as its Content-Encoding', async () => {
    const body = JSON.stringify(message({ message_id: 'typed' }));
    for (const headers of [{ 'Content-Type': 'text/html' }, { 'Content-Encoding': 'identity' }, { 'Content-Encoding': 'IDENTITY' }]) {
      assert.equal((await app.post(body, headers)).status, 200);
    }
  });

  test('may come in chunks, and after asking whether to continue', async (t) => {
    const body = JSON.stringify(message({ message_id: 'chunked' }));
    const chunks = [body.slice(0, 10), body.slice(10)].map((chunk) => `${chunk.length.toString(16)}\r\n${chunk}\r\n`).join('');
    const chunked = requestBytes(`${chunks}0\r\n\r\n`, [`X-Signature: ${sign(body)}`, 'Transfer-Encoding: chunked']);
    assert.deepEqual(statusesIn(await exchangeRaw(app.port, chunked)), [200]);

    const connection = connectRaw(t, app.port);
    const [head = ''] = requestBytes(body, [`X-Signature: ${sign(body)}`, 'Expect: 100-continue']).split('\r\n\r\n');
    connection.write(`${head}\r\n\r\n`);
    await waitFor('100 Continue', () => connection.received().startsWith('HTTP/1.1 100 Continue\r\n\r\n'));
    connection.write(body);
    assert.deepEqual(statusesIn(await connection.closed()), [100, 200]);
  });
});

describe('a signature', () => {
  const body = JSON.stringify(message({ message_id: 'unsigned' }));

  async function refused(headers: readonly string[], reason: string): Promise<void> {
    const series = `webhook_signature_failures_total{reason="${reason}"}`;
    const before = await app.metric(series);
    const answer = await exchangeRaw(app.port, requestBytes(body, headers));
    assert.deepEqual(statusesIn(answer), [401]);
    assert.ok(answer.endsWith('{"detail":"invalid signature"}'));
    assert.equal(await app.metric(series), (before ?? 0) + 1);
    const entry = app.logs.findLast((line) => line['event'] === 'webhook');
    assert.deepEqual([entry?.['result'], entry?.['reason'], entry?.['message_id'], entry?.['level']], ['invalid_signature', reason, null, 'WARNING']);
  }

  test('that is missing, repeated, malformed or wrong is refused, and nothing is stored', async () => {
    const before = await total();
    const right = sign(body);
    await refused([], 'missing');
    await refused([`X-Signature: ${right}`, `X-Signature: ${right}`], 'malformed');
    await refused([`X-Signature: ${right}, ${right}`], 'malformed');
    await refused(['X-Signature: '], 'malformed');
    await refused([`X-Signature: ${sign(body, 'another secret')}`], 'mismatch');
    assert.equal(await total(), before);
  });

  test('comes before the schema: nothing is parsed until it holds', async () => {
    const response = await fetch(`${app.url}/webhook`, { method: 'POST', body: 'no json', headers: { 'X-Signature': '0'.repeat(64) } });
    assert.equal(response.status, 401);
  });

  test('covers the bytes as they came', async () => {
    const spaced = ` \n${body}\t`;
    const response = await fetch(`${app.url}/webhook`, { method: 'POST', body: spaced, headers: { 'X-Signature': sign(body) } });
    assert.equal(response.status, 401);
    assert.equal((await app.post(spaced)).status, 200);
  });
});

describe('a body', () => {
  test('in another encoding is 415', async () => {
    for (const encoding of ['gzip', 'br', 'identity, gzip', '']) {
      const answer = await exchangeRaw(app.port, requestBytes('{}', [`X-Signature: ${sign('{}')}`, `Content-Encoding: ${encoding}`]));
      assert.deepEqual(statusesIn(answer), [415], encoding);
    }
    assert.equal(app.logs.findLast((line) => line['event'] === 'webhook')?.['result'], 'unsupported_encoding');
  });

  test('is taken at the limit and refused one byte above, with its length declared or not', async () => {
    const body = JSON.stringify(message({ message_id: 'large' }));
    const atLimit = body.padEnd(MAX_BODY_BYTES);
    const above = `${atLimit} `;
    assert.equal((await app.post(atLimit)).status, 200);
    assert.equal((await app.post(above)).status, 413);
    for (const [bytes, status] of [[atLimit, 200], [above, 413]] as const) {
      const chunked = `${bytes.length.toString(16)}\r\n${bytes}\r\n0\r\n\r\n`;
      const answer = await exchangeRaw(app.port, requestBytes(chunked, [`X-Signature: ${sign(bytes)}`, 'Transfer-Encoding: chunked']));
      assert.deepEqual(statusesIn(answer), [status]);
    }
    assert.equal(app.logs.findLast((line) => line['event'] === 'webhook')?.['result'], 'payload_too_large');
  });

  test('that is too large by its declared length is refused before it comes', async (t) => {
    const connection = connectRaw(t, app.port);
    connection.write(`POST /webhook HTTP/1.1\r\nHost: a\r\nContent-Length: ${10 ** 12}\r\n\r\n`);
    await waitFor('the refusal', () => statusesIn(connection.received())[0] === 413);
    assert.match(await connection.closed(), /"detail":"the body must have at most 20000 bytes"/);
  });

  test('that is never asked for is not waited for', async (t) => {
    const connection = connectRaw(t, app.port);
    connection.write(`POST /webhook HTTP/1.1\r\nHost: a\r\nContent-Length: ${10 ** 6}\r\nExpect: 100-continue\r\n\r\n`);
    assert.deepEqual(statusesIn(await connection.closed()), [413]);
  });

  test('that the sender breaks off is logged and counted as aborted', async (t) => {
    const series = 'webhook_requests_total{result="aborted"}';
    const before = await app.metric(series) ?? 0;
    const connection = connectRaw(t, app.port);
    connection.write('POST /webhook HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n{"half":');
    await waitFor('the service to read on', () => statusesIn(connection.received())[0] === 100);
    connection.socket.destroy();
    await waitFor('the count', async () => await app.metric(series) === before + 1);
    const entry = app.logs.findLast((line) => line['event'] === 'webhook');
    assert.deepEqual([entry?.['result'], entry?.['reason']], ['aborted', 'connection closed']);
  });

  test('with endless chunk extensions is refused, and one with trailers has no more headers for them', async () => {
    const endless = requestBytes(`1;${'x'.repeat(20_000)}\r\nx\r\n0\r\n\r\n`, ['X-Signature: x', 'Transfer-Encoding: chunked']);
    assert.deepEqual(statusesIn(await exchangeRaw(app.port, endless)), [400]);
    const body = JSON.stringify(message({ message_id: 'trailed' }));
    const chunked = `${body.length.toString(16)}\r\n${body}\r\n0\r\nX-Signature: ${sign(body)}\r\n\r\n`;
    const trailed = requestBytes(chunked, ['Transfer-Encoding: chunked', 'Trailer: X-Signature']);
    assert.deepEqual(statusesIn(await exchangeRaw(app.port, trailed)), [401]);
  });

  test('whose chunks are malformed is refused, once', async () => {
    const answer = await exchangeRaw(app.port, requestBytes('zz\r\n', ['X-Signature: x', 'Transfer-Encoding: chunked']));
    assert.deepEqual(statusesIn(answer), [400]);
  });
});

describe('a signed payload', () => {
  const refusals: [string, string | Buffer<ArrayBuffer>, string[]][] = [
    ['that is empty', '', ['body: json_invalid']],
    ['that is no JSON', '{"a":', ['body: json_invalid']],
    ['that is not UTF-8', Buffer.from([0x22, 0xff, 0x22]), ['body: utf8_invalid']],
    ['with an overlong encoding', Buffer.from([0x22, 0xc0, 0xaf, 0x22]), ['body: utf8_invalid']],
    ['with a byte order mark', `\ufeff${JSON.stringify(message())}`, ['body: json_invalid']],
    ['that is no object', '[]', ['body: object_type']],
    ['that is a number too large for any', '1e999999', ['body: object_type']],
    ['that is nested deeply', `${'['.repeat(9000)}${']'.repeat(9000)}`, ['body: object_type']],
    ['with several faults', '{"message_id":"","from":"1","ts":"x","text":1}',
      ['body.message_id: string_too_short', 'body.from: e164', 'body.to: missing', 'body.ts: timestamp', 'body.text: string_type']],
    ['with a lone surrogate', '{"message_id":"\\ud800","from":"+12","to":"+12","ts":"2025-01-15T10:00:00Z"}', ['body.message_id: string_unicode']],
    ['whose fields hide in __proto__', `{"__proto__":${JSON.stringify(message())}}`,
      ['body.message_id: missing', 'body.from: missing', 'body.to: missing', 'body.ts: missing']],
  ];
  for (const [what, body, faults] of refusals) {
    test(`${what} is refused with every fault`, async () => {
      const before = await total();
      const response = await app.post(body);
      assert.deepEqual(await faultTypes(response), faults);
      const entry = await entryOf(app, response);
      assert.deepEqual([entry['result'], entry['message_id'], entry['dup']], ['invalid_payload', null, false]);
      assert.ok(Array.isArray(entry['errors']) && entry['errors'].length === faults.length);
      assert.equal(await total(), before);
    });
  }

  test('counts the last of a repeated key, as JSON.parse does', async () => {
    const body = JSON.stringify(message({ message_id: 'repeated key' })).replace('}', ',"text":"last"}');
    assert.equal((await app.post(body)).status, 200);
    assert.equal((await app.get('/messages?q=last')).status, 200);
    assert.match(await (await app.get('/messages?q=last')).text(), /"total":1/);
  });
});

describe('without what it needs', () => {
  async function refusesAll(t: TestContext, reason: string, environment: Record<string, string>, change?: (storage: Storage) => Partial<Storage>) {
    const crippled = await startTestApp(t, environment, change && (async (options) => {
      const storage = await openStorage(options);
      return { ...storage, ...change(storage) };
    }));
    const response = await crippled.send({ message_id: 'x' });
    assert.equal(response.status, 503);
    assert.match(response.headers.get('retry-after') ?? '', /^[0-9]+$/);
    assert.match(await response.text(), /^\{"detail":"[^"]+"\}$/);
    const entry = await entryOf(crippled, response);
    assert.deepEqual([entry['result'], entry['reason'], entry['level']], ['unavailable', reason, 'ERROR']);
    assert.equal(await crippled.metric('webhook_requests_total{result="unavailable"}'), 1);
    assert.equal(await crippled.metric('messages_stored_total'), 0);
    return { crippled, entry };
  }

  test('a secret: 503, alive and not ready', async (t) => {
    const { crippled } = await refusesAll(t, 'no secret is set', { WEBHOOK_SECRET: '' });
    assert.equal((await crippled.get('/health/live')).status, 200);
    const ready = await crippled.get('/health/ready');
    assert.deepEqual([ready.status, await ready.json()], [503, { status: 'unavailable', reasons: ['no secret is set'] }]);
  });

  test('room in the queue: 503 before the body is read', async (t) => {
    const { crippled } = await refusesAll(t, 'the queue is full', {}, () => ({ hasRoom: () => false }));
    const connection = connectRaw(t, crippled.port);
    connection.write('POST /webhook HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n');
    await waitFor('the refusal', () => statusesIn(connection.received())[0] === 503);
    connection.socket.destroy();
  });

  test('a storage that stores: 503, with the id as signature and schema held', async (t) => {
    const { entry } = await refusesAll(t, 'the disk is full', {}, () => ({ append: () => Promise.reject(new StorageUnavailable('the disk is full')) }));
    assert.equal(entry['message_id'], 'x');
  });

  test('a storage without surprises: 503 all the same, and the surprise is logged', async (t) => {
    const { crippled } = await refusesAll(t, 'unexpected error', {}, () => ({ append: () => Promise.reject(new TypeError('canary')) }));
    const line = crippled.logs.find(({ event }) => event === 'unexpected_error');
    assert.equal(line?.['error'], 'TypeError');
    assert.ok(!JSON.stringify(crippled.logs).includes('canary'));
  });
});
