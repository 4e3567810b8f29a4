import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { StorageUnavailable } from '../../src/errors.ts';
import { writeCursor } from '../../src/query/positions.ts';
import { openStorage } from '../../src/storage/open.ts';
import { startTestApp } from '../support/app.ts';
import { message } from '../support/messages.ts';
import { CHECKOUT } from '../support/server-process.ts';
import { temporaryFolder } from '../support/temporary.ts';

const app = await startTestApp({ after });

const idsInOrder = async () => {
  const { items }: { items: { message_id: string }[] } = JSON.parse(await (await app.get('/messages')).text());
  return items.map(({ message_id }) => message_id);
};

/** Relative to whatever address was asked (RFC 3986 section 5.2.2): a proxy may serve the inbox below a path. */
const nextQuery = (response: Response) => /^<(\?[^>]*)>; rel="next"$/.exec(response.headers.get('link') ?? '')?.[1];

describe('an empty inbox', () => {
  test('lists nothing', async () => {
    assert.equal(await (await app.get('/messages')).text(), '{"items":[],"total":0,"limit":50,"offset":0}');
  });

  test('has empty stats', async () => {
    assert.equal(await (await app.get('/stats')).text(),
      '{"total_messages":0,"senders_count":0,"messages_per_sender":[],"first_message_ts":null,"last_message_ts":null}');
  });
});

describe('GET /messages', () => {
  test('shows items exactly as they came, in order, with total, limit and offset', async () => {
    await app.send({ message_id: 'b', ts: '2025-01-15T10:00:00.50Z', text: null });
    await app.send({ message_id: 'a', ts: '2025-01-15T10:00:00.5Z', text: '"\\\u2028' });
    await app.send({ message_id: 'c', from: '+12', ts: '2025-01-15T10:00:00Z' });
    const response = await app.get('/messages?limit=2&offset=1');
    assert.equal(response.headers.get('content-type'), 'application/json');
    assert.deepEqual(await response.json(), {
      items: [message({ message_id: 'a', ts: '2025-01-15T10:00:00.5Z', text: '"\\\u2028' }), message({ message_id: 'b', ts: '2025-01-15T10:00:00.50Z', text: null })],
      total: 3, limit: 2, offset: 1,
    });
  });

  test('finds a message by its id, together with the other filters', async () => {
    for (const [query, ids] of [
      ['message_id=a', ['a']], ['message_id=A', []], ['message_id=%00', []], ['message_id=c&from=%2B12', ['c']], ['message_id=c&from=%2B13', []],
      ['message_id=a&q=%5C', ['a']], ['message_id=b&q=x', []], ['message_id=c&since=2025-01-15T10:00:00Z', ['c']], ['message_id=c&since=2025-01-15T10:00:01Z', []],
      ['message_id=c&offset=1', []],
    ] as const) {
      const { items, total }: { items: { message_id: string }[]; total: number } = JSON.parse(await (await app.get(`/messages?${query}`)).text());
      assert.deepEqual(items.map(({ message_id }) => message_id), ids, query);
      assert.equal(total, query.includes('offset') ? 1 : ids.length, query);
    }
  });

  test('reads an unescaped plus in from', async () => {
    const listing: { total: number } = JSON.parse(await (await app.get('/messages?from=+12')).text());
    assert.equal(listing.total, 1);
  });

  test('leads through all pages by Link, with the filters of the first', async () => {
    const ids: string[] = [];
    let query: string | undefined = '?limit=1&q=%22%5C&from=+919876543210';
    await app.send({ message_id: 'd', text: '"\\' });
    while (query !== undefined) {
      const response: Response = await app.get(`/messages${query}`);
      const page: { items: { message_id: string }[]; total: number; offset: number } = JSON.parse(await response.text());
      assert.deepEqual([response.status, page.total, page.offset], [200, 2, 0]);
      ids.push(...page.items.map(({ message_id }) => message_id));
      assert.ok(ids.length <= page.total, 'a message is repeated');
      query = nextQuery(response);
    }
    assert.deepEqual(ids, ['d', 'a']);
  });

  test('leads through all pages newest first too', async () => {
    const idsOf = async (order: string) => {
      const ids: string[] = [];
      for (let query: string | undefined = `?limit=1&order=${order}`; query !== undefined;) {
        const response: Response = await app.get(`/messages${query}`);
        const { items }: { items: { message_id: string }[] } = JSON.parse(await response.text());
        ids.push(...items.map(({ message_id }) => message_id));
        query = nextQuery(response);
      }
      return ids;
    };
    const oldestFirst = await idsOf('oldest');
    assert.ok(oldestFirst.length >= 4);
    assert.deepEqual(await idsOf('newest'), oldestFirst.toReversed());
  });

  test('leads through all pages as the documented loop follows them', async (t) => {
    if (['curl', 'jq'].some((tool) => spawnSync(tool, ['--version']).error !== undefined)) return t.skip('curl or jq is not installed here');
    const loop = readFileSync(join(CHECKOUT, 'src/http/README.md'), 'utf8').split('```sh\n').find((block) => block.startsWith('next='))?.split('```')[0] ?? '';
    const script = loop.replaceAll('limit=100', 'limit=1').replaceAll('http://127.0.0.1:8000', app.url);
    const { stdout, stderr } = await promisify(execFile)('sh', ['-c', script], { env: { ...process.env, TMPDIR: temporaryFolder(t) } });
    assert.deepEqual([stdout.trim().split('\n').map((line) => JSON.parse(line).message_id), stderr], [await idsInOrder(), '']);
  });

  test('refuses a cursor of another database as gone', async () => {
    const cursor = writeCursor({ generation: 'another', after: { instant: '', message_id: '' } });
    const response = await app.get(`/messages?cursor=${cursor}`);
    assert.deepEqual([response.status, await response.json()], [410, { detail: 'the cursor is of another database; begin again without one' }]);
  });

  test('refuses values outside their bounds with their place', async () => {
    const response = await app.get('/messages?limit=101&since=now');
    assert.equal(response.status, 422);
    const { detail }: { detail: { loc: string[]; msg: string; type: string }[] } = JSON.parse(await response.text());
    assert.deepEqual(detail.map(({ loc }) => loc), [['query', 'limit'], ['query', 'since']]);
    assert.ok(detail.every(({ msg, type }) => msg !== '' && type !== ''));
  });

  test('refuses a query that is not percent-encoded UTF-8', async () => {
    const response = await app.get('/messages?q=%ff');
    assert.deepEqual([response.status, await response.json()], [400, { detail: 'the query is not valid percent-encoded UTF-8' }]);
  });
});

test('adds to each item the fields that are asked for, on every page', async (t) => {
  const app = await startTestApp(t);
  const before = Date.now();
  await app.send({ message_id: 'e', from: '+15', text: null });
  await app.send({ message_id: 'f', from: '+15', text: null });
  const first = await app.get('/messages?from=%2B15&limit=1&fields=sequence,received_at');
  const second = await app.get(`/messages${nextQuery(first) ?? ''}`);
  const items: { received_at: string; sequence: number; message_id: string }[] =
    [...JSON.parse(await first.text()).items, ...JSON.parse(await second.text()).items];
  assert.deepEqual(items.map(({ received_at, sequence, ...content }) => content), ['e', 'f'].map((message_id) => message({ message_id, from: '+15', text: null })));
  const [{ received_at = '', sequence = 0 } = {}, next] = items;
  assert.match(received_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  assert.ok(Date.parse(received_at) >= before && Date.parse(received_at) <= Date.now());
  assert.ok(Number.isInteger(sequence) && (next?.sequence ?? 0) > sequence);
  const one = JSON.parse(await (await app.get('/messages?message_id=e&fields=sequence')).text());
  assert.deepEqual(one.items, [{ ...message({ message_id: 'e', from: '+15', text: null }), sequence }]);
});

test('GET /stats counts what is stored', async () => {
  assert.deepEqual(await (await app.get('/stats')).json(), {
    total_messages: 4, senders_count: 2, messages_per_sender: [{ from: '+919876543210', count: 3 }, { from: '+12', count: 1 }],
    first_message_ts: '2025-01-15T10:00:00Z', last_message_ts: '2025-01-15T10:00:00.50Z',
  });
});

test('a read that the storage refuses is 503 with Retry-After; one that fails unforeseen is 500 without a cause', async (t) => {
  const failing = await startTestApp(t, {}, async (options) => ({
    ...await openStorage(options),
    list: () => Promise.reject(new StorageUnavailable('a read took too long')),
    stats: () => Promise.reject(new Error('canary')),
  }));
  const refused = await failing.get('/messages');
  assert.deepEqual([refused.status, refused.headers.get('retry-after')], [503, '1']);
  const broken = await failing.get('/stats');
  assert.deepEqual([broken.status, await broken.text()], [500, '{"detail":"Internal Server Error"}']);
  assert.ok(failing.logs.some(({ event, request_id }) => event === 'unexpected_error' && request_id === broken.headers.get('x-request-id')));
  assert.ok(!JSON.stringify(failing.logs).includes('canary'));
});
