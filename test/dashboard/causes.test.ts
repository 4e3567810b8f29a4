/** What the page says of refused requests: of each that this service can refuse, and with what to do about it. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { startTestApp } from '../support/app.ts';
import { CHECKOUT } from '../support/server-process.ts';

interface Cause {
  readonly title: string;
  readonly mend: string;
  readonly faults: readonly string[];
}
const { causeOf, FIELD_RULES }: {
  causeOf(refusal: object, schemes: readonly string[]): Cause;
  FIELD_RULES: Readonly<Record<string, string>>;
} = await import(join(CHECKOUT, 'src/dashboard/page/causes.js'));

const SCHEMES = ['x-signature'];
const read = (name: string) => readFileSync(join(CHECKOUT, 'src', name), 'utf8');
const matches = (text: string, pattern: RegExp) => [...new Set([...text.matchAll(pattern)].map(([, found = '']) => found))];

const app = await startTestApp({ after });
const metrics = await (await app.get('/metrics')).text();
const labels = (metric: string) => matches(metrics, new RegExp(`^${metric}\\{.*?="(\\w+)"`, 'gm'));
const unknown = causeOf({ result: 'of a later version' }, SCHEMES);

function assertKnown(refusal: object): void {
  const { title, mend } = causeOf(refusal, SCHEMES);
  assert.notEqual(title, unknown.title, JSON.stringify(refusal));
  assert.match(mend, /^[A-Z].*\.$/, JSON.stringify(refusal));
  assert.doesNotMatch(mend, /[{}]/, JSON.stringify(refusal));
}

describe('the page knows the cause of a request', () => {
  test('whatever its result is', () => {
    const results = labels('webhook_requests_total').filter((result) => result !== 'ok');
    assert.ok(results.length > 5);
    const withReason = new Set(['invalid_signature', 'invalid_client_certificate', 'aborted']);
    for (const result of results.filter((each) => !withReason.has(each))) assertKnown({ result });
  });

  test('whatever is wrong with its signature, its certificate, its body or its head', () => {
    const signature = labels('webhook_signature_failures_total');
    const certificate = matches(/type ClientCertificateFault = (.*);/.exec(read('http/tls.ts'))?.[1] ?? '', /'(\w+)'/g);
    const body = matches(/type BodyAbort = ([^;]*);/.exec(read('http/body.ts'))?.[1] ?? '', /'([\w ]+)'/g);
    const head = labels('http_requests_refused_total');
    assert.deepEqual([signature.length, certificate.length, body.length, head.length].map((count) => count > 2), [true, true, true, true]);
    for (const reason of signature) assertKnown({ result: 'invalid_signature', reason });
    for (const reason of certificate) assertKnown({ result: 'invalid_client_certificate', reason });
    for (const reason of head) assertKnown({ result: 'refused', reason });
    const ours = matches(/OUR_ABORTS = (.*);/.exec(read('webhook/receive.ts'))?.[1] ?? '', /'([\w ]+)':/g);
    for (const reason of body.filter((each) => !ours.includes(each))) assertKnown({ result: 'aborted', reason });
    for (const reason of matches(/OUR_ABORTS = (.*);/.exec(read('webhook/receive.ts'))?.[1] ?? '', /: '([\w ]+)'/g)) assertKnown({ result: 'unavailable', reason });
  });

  test('whatever is wrong with a field', () => {
    const types = matches(read('message.ts'), /type: '(\w+)'/g).concat(matches(read('webhook/receive.ts'), /invalid\('[^']*', '(\w+)'\)/g));
    assert.deepEqual(Object.keys(FIELD_RULES).toSorted(), types.toSorted());
  });

  test('says how it may be signed here', () => {
    const mend = (reason: string, schemes: readonly string[]) => causeOf({ result: 'invalid_signature', reason }, schemes).mend;
    assert.match(mend('missing', ['x-signature']), /\(X-Signature\)/);
    assert.match(mend('missing', ['standard-webhooks']), /\(webhook-id, webhook-timestamp and webhook-signature\)/);
    assert.doesNotMatch(mend('malformed', ['x-signature']), /webhook-/);
    assert.doesNotMatch(mend('malformed', ['standard-webhooks']), /X-Signature/);
    assert.match(mend('malformed', ['x-signature', 'standard-webhooks']), /X-Signature.*; or, and never both, webhook-id/);
  });

  test('says why the storage refused it, and of a later version that the log knows', () => {
    assert.equal(causeOf({ result: 'unavailable', reason: 'the database is damaged' }, SCHEMES).title, 'It could not be stored: the database is damaged');
    assert.match(unknown.mend, /log/);
    assert.deepEqual(causeOf({ result: 'invalid_payload', errors: [{ loc: ['body', 'ts'], type: 'timestamp' }] }, SCHEMES).faults,
      ['ts has to be a UTC time such as 2026-01-31T09:30:00Z']);
  });
});
