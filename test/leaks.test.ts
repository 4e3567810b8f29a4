/** What must never leave: canaries in every kind of request appear in no log line, metric or error body. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startTestApp } from './support/app.ts';
import { message, sign } from './support/messages.ts';
import { exchangeRaw } from './support/raw-http.ts';

const SECRET = 'canary-secret-4711';
const NUMBER = '+4711471147114';
const TEXT = 'canary-text-4711';
const TOKEN = 'canary-token-4711';
const SIGNATURE = 'ca4711'.padEnd(64, '0');
const CANARIES = [SECRET, TOKEN, NUMBER, NUMBER.slice(1), TEXT, SIGNATURE, 'canary'];

test('secrets, signatures, phone numbers and texts appear in no log line, metric or error body', async (t) => {
  const app = await startTestApp(t, {
    WEBHOOK_SECRET: SECRET, WEBHOOK_SECRET_PREVIOUS: `${SECRET}-previous`, READ_TOKEN: TOKEN, METRICS_TOKEN: `${TOKEN}-metrics`, ERASE_TOKEN: `${TOKEN}-erase`,
    SIGNATURE_SCHEMES: 'x-signature,standard-webhooks',
  });
  const authorization = { Authorization: `Bearer ${TOKEN}` };
  const valid = message({ message_id: 'plain', from: NUMBER, to: NUMBER, text: TEXT });
  const bodies = [
    valid, { ...valid, text: 'another canary' }, { ...valid, from: `${NUMBER}x` }, { ...valid, ts: TEXT }, { ...valid, message_id: [TEXT] },
    { ...valid, text: `${TEXT}\0` }, { [TEXT]: NUMBER }, TEXT, [NUMBER],
  ].map((body) => JSON.stringify(body)).concat(`{"text":"${TEXT}`, `${NUMBER}`);
  const errorBodies: string[] = [];
  const keep = async (response: Response) => {
    const body = await response.text();
    if (!response.ok) errorBodies.push(body);
  };
  for (const body of bodies) {
    await keep(await app.post(body, { 'X-Signature': sign(body, SECRET) }));
    await keep(await app.post(body, { 'X-Signature': SIGNATURE }));
    await keep(await app.post(body, { 'X-Signature': `sha256=${SECRET}` }));
    await keep(await app.post(body, { 'webhook-id': TEXT, 'webhook-timestamp': TEXT, 'webhook-signature': `v1,${SIGNATURE}` }));
    await keep(await app.post(body, { 'X-Signature': sign(body, SECRET), 'Content-Encoding': TEXT }));
  }
  for (const query of [`from=${NUMBER}`, `q=${TEXT}`, `q=${'canary'.repeat(99)}`, `since=${TEXT}`, `limit=${TEXT}`, `${TEXT}=%ff`, `offset=${NUMBER}`]) {
    await keep(await app.get(`/messages?${query}`, { headers: authorization }));
    await keep(await app.get(`/messages?${query}`, { headers: { Authorization: `Bearer ${SECRET}` } }));
    await keep(await app.get(`/metrics?${query}`, { headers: authorization }));
  }
  for (const query of [`from=${encodeURIComponent(NUMBER)}`, `message_id=${TEXT}`, `from=${NUMBER}&${TEXT}=${TEXT}`, `${TEXT}=%ff`]) {
    for (const token of [`${TOKEN}-erase`, SECRET]) {
      await keep(await app.get(`/messages?${query}`, { method: 'DELETE', headers: { Authorization: `Bearer ${token}` } }));
    }
  }
  await keep(await app.get(`/${TEXT}/${encodeURIComponent(NUMBER)}?${TEXT}`));
  for (const bytes of [
    `GET /${TEXT} HTTP/1.1\r\nHost: ${TEXT}/x\r\n\r\n`, `${TEXT}\r\n\r\n`, `POST /webhook HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Signature: ${TEXT}\r\n\r\n`,
    `GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${TEXT}\r\nX-Request-ID: ${TEXT}\r\nUser-Agent: ${TEXT}\r\nConnection: close\r\n\r\n`,
    `GET / HTTP/1.1\r\nHost: a\r\nX: ${TEXT.repeat(2000)}\r\n\r\n`, `CONNECT ${TEXT}:443 HTTP/1.1\r\nHost: a\r\n\r\n`,
  ]) {
    const answer = await exchangeRaw(app.port, bytes);
    errorBodies.push(answer);
  }
  const metrics = await (await app.get('/metrics', { headers: { Authorization: `Bearer ${TOKEN}-metrics` } })).text();
  assert.match(metrics, /^messages_stored_total [1-9]/m);
  app.reload();
  await app.stop();

  assert.ok(errorBodies.length > 40 && app.logs.length > 80);
  for (const canary of CANARIES) {
    assert.deepEqual(app.logs.filter((line) => JSON.stringify(line).includes(canary)), []);
    assert.deepEqual(errorBodies.filter((body) => body.includes(canary)), []);
    assert.ok(!metrics.includes(canary));
  }
});
