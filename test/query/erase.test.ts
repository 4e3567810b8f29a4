/** DELETE /messages over real sockets. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { startTestApp, type TestApp } from '../support/app.ts';

const TOKEN = 'token-of-who-erases-1';
const NUMBER = '+14155550123';
const authorized = { Authorization: `Bearer ${TOKEN}` };

const erase = (app: TestApp, query: string, headers: Record<string, string> = authorized) =>
  fetch(`${app.privateUrl}/messages${query}`, { method: 'DELETE', headers });

async function idsOf(app: TestApp): Promise<string[]> {
  const { items }: { items: { message_id: string }[] } = JSON.parse(await (await fetch(`${app.privateUrl}/messages`)).text());
  return items.map(({ message_id }) => message_id);
}

describe('DELETE /messages', () => {
  test('erases the messages of a sender, to a recipient, or of an id, and tells how many those were', async (t) => {
    const app = await startTestApp(t, { ERASE_TOKEN: TOKEN });
    for (const [message_id, from, to] of [['a', '+11', '+21'], ['b', '+11', '+22'], ['c', '+12', '+22'], ['d', '+13', '+23'], ['e e', '+13', '+24']] as const) {
      await app.send({ message_id, from, to });
    }
    for (const [query, erased, left] of [
      ['?from=%2B11', 2, ['c', 'd', 'e e']], ['?from=%2B11', 0, ['c', 'd', 'e e']], ['?to=+22', 1, ['d', 'e e']], ['?message_id=e%20e', 1, ['d']],
      ['?message_id=D', 0, ['d']], ['?from=%00', 0, ['d']], ['?from=anything', 0, ['d']],
    ] as const) {
      const response = await erase(app, query);
      assert.deepEqual([response.status, await response.json()], [200, { erased }], query);
      assert.deepEqual(await idsOf(app), left, query);
    }
    assert.equal((await app.send({ message_id: 'a' })).status, 200);
    assert.deepEqual(await idsOf(app), ['d']);
    assert.deepEqual(app.logs.filter((line) => line['event'] === 'webhook').at(-1)?.['dup'], true);
  });

  test('takes exactly one of the three, once and with a value, and nothing else', async (t) => {
    const app = await startTestApp(t, { ERASE_TOKEN: TOKEN });
    await app.send({ message_id: 'kept', from: NUMBER });
    const number = encodeURIComponent(NUMBER);
    for (const query of [
      '', '?', '?from=', `?from=${number}&to=%2B12`, `?from=${number}&from=${number}`, `?from=${number}&limit=1`, `?FROM=${number}`, '?q=hello', '?message_id',
      `?from=${number}&since=2030-01-01T00:00:00Z`, `?from=${number}&to=`,
    ]) {
      const response = await erase(app, query);
      const { detail }: { detail: { loc: string[]; msg: string; type: string }[] } = JSON.parse(await response.text());
      assert.equal(response.status, 422, query);
      assert.ok(detail.length > 0 && detail.every(({ loc, msg, type }) => loc[0] === 'query' && msg.includes('from, to, message_id') && type === 'erasure'), query);
    }
    assert.equal((await erase(app, '?from=%ff')).status, 400);
    assert.deepEqual(await idsOf(app), ['kept']);
  });

  test('wants its own token, and is not there without one or at the public port', async (t) => {
    const app = await startTestApp(t, { ERASE_TOKEN: TOKEN, READ_TOKEN: 'token-of-who-reads-1', PRIVATE_PORT: '0' });
    for (const headers of [{}, { Authorization: 'Bearer token-of-who-reads-1' }, { Authorization: 'Bearer wrong' }]) {
      const response = await erase(app, '?from=%2B11', headers);
      assert.deepEqual([response.status, response.headers.get('www-authenticate')?.startsWith('Bearer')], [401, true]);
    }
    assert.equal((await fetch(`${app.url}/messages?from=%2B11`, { method: 'DELETE', headers: authorized })).status, 404);
    const other = await fetch(`${app.privateUrl}/messages`, { method: 'PUT' });
    assert.deepEqual([other.status, other.headers.get('allow')], [405, 'GET, HEAD, DELETE']);

    const without = await startTestApp(t);
    const response = await erase(without, '?from=%2B11');
    assert.deepEqual([response.status, await response.json()], [404, { detail: 'Not Found' }]);
    assert.equal((await fetch(`${without.url}/messages`, { method: 'PUT' })).headers.get('allow'), 'GET, HEAD');
  });

  test('names nobody in the log', async (t) => {
    const app = await startTestApp(t, { ERASE_TOKEN: TOKEN });
    await app.send({ message_id: 'only', from: NUMBER });
    const response = await erase(app, `?from=${encodeURIComponent(NUMBER)}`);
    const { messages, request_id } = app.logs.find((line) => line['event'] === 'erased') ?? {};
    assert.deepEqual([messages, request_id], [1, response.headers.get('x-request-id')]);
    assert.ok(!JSON.stringify(app.logs).includes(NUMBER));
  });
});
