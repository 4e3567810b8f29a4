/**
 * The vectors are project Wycheproof's (testvectors_v1/hmac_sha256_test.json, github.com/C2SP/wycheproof, Apache-2.0). Half of the groups
 * have tags truncated to 128 bits, which must be refused: a shorter tag is easier to guess.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { configOf } from '../support/config.ts';
import { SECRET, sign } from '../support/messages.ts';
import { keysOf, standardHeaders, verdictOf } from '../support/signatures.ts';

interface Vectors {
  readonly numberOfTests: number;
  readonly testGroups: readonly {
    readonly tagSize: number;
    readonly tests: readonly { readonly tcId: number; readonly key: string; readonly msg: string; readonly tag: string; readonly result: string }[];
  }[];
}

describe('X-Signature', () => {
  const body = Buffer.from('{"a":1}');
  const right = sign(body);
  const verdict = (values: readonly string[], of: Buffer = body) => verdictOf(values.map((value) => ['X-Signature', value] as const), of, keysOf(SECRET));

  test('agrees with every Wycheproof vector, truncated tags refused', () => {
    const vectors: Vectors = JSON.parse(readFileSync(join(import.meta.dirname, 'wycheproof_hmac_sha256.json'), 'utf8'));
    let checked = 0;
    for (const { tagSize, tests } of vectors.testGroups) {
      for (const { tcId, key, msg, tag, result } of tests) {
        const fault = verdictOf([['x-signature', tag]], Buffer.from(msg, 'hex'), keysOf(Buffer.from(key, 'hex')));
        const expected = tagSize !== 256 ? 'malformed' : result === 'valid' ? 'current' : 'mismatch';
        assert.equal(fault, expected, `vector ${tcId}`);
        checked += 1;
      }
    }
    assert.equal(checked, vectors.numberOfTests);
  });

  test('takes digits of either case, with or without the prefix', () => {
    for (const header of [right, right.toUpperCase(), `sha256=${right}`, `sha256=${right.toUpperCase()}`]) assert.equal(verdict([header]), 'current');
  });

  test('tells a missing header from a malformed one and a wrong one', () => {
    assert.equal(verdict([]), 'missing');
    for (const header of ['', right.slice(1), `${right}0`, `${right} `, `SHA256=${right}`, `sha256= ${right}`, `sha1=${right}`,
      `v1,${right}`, `g${right.slice(1)}`, `sha256=sha256=${right}`]) {
      assert.equal(verdict([header]), 'malformed', header);
    }
    assert.equal(verdict([sign(body, 'another secret')]), 'mismatch');
    assert.equal(verdict([right], Buffer.from('{"a":2}')), 'mismatch');
  });

  test('refuses a repeated header even where one of its values is right', () => {
    assert.equal(verdict([right, right]), 'malformed');
    assert.equal(verdict(['0'.repeat(64), right]), 'malformed');
  });

  test('takes the previous key beside the current one, and tells which', () => {
    const keys = keysOf('new', 'old');
    for (const [secret, key] of [['new', 'current'], ['old', 'previous'], ['older', 'mismatch']] as const) {
      assert.equal(verdictOf([['X-Signature', sign(body, secret)]], body, keys), key);
    }
    assert.equal(verdictOf([['X-Signature', sign(body, 'same')]], body, keysOf('same', 'same')), 'current');
  });
});

describe('Standard Webhooks', () => {
  const SECRET_TEXT = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
  const VECTOR = {
    'webhook-id': 'msg_p5jXN8AQM9LWM0D4loKWxJek', 'webhook-timestamp': '1614265330',
    'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
  };
  const BODY = Buffer.from('{"test": 2432232314}');
  const SIGNED_AT_MS = 1614265330_000;
  const { webhook } = configOf({ WEBHOOK_SECRET: SECRET_TEXT, SIGNATURE_SCHEMES: 'standard-webhooks' }).credentials;
  const keys = webhook ?? assert.fail('no keys');
  const rules = { signatureSchemes: ['standard-webhooks'], now: () => SIGNED_AT_MS } as const;

  const verdict = (changes: Partial<Record<string, string>> = {}, more: readonly (readonly [string, string])[] = [], now = SIGNED_AT_MS) => {
    const headers = Object.entries({ ...VECTOR, ...changes }).flatMap(([name, value]) => (value === undefined ? [] : [[name, value] as const]));
    return verdictOf([...headers, ...more], BODY, keys, { ...rules, now: () => now });
  };
  const right = VECTOR['webhook-signature'];

  test('accepts the known vector', () => {
    assert.equal(verdict(), 'current');
  });

  test('accepts any right entry of a list, and skips versions that it does not know', () => {
    const wrong = `v1,${'A'.repeat(43)}=`;
    for (const list of [`${wrong} ${right}`, `${right} ${wrong}`, `v1a,abc ${right}`, `v2,${right.slice(3)} ${right}`, `${right}  x`, `v1,short ${right}`]) {
      assert.equal(verdict({ 'webhook-signature': list }), 'current', list);
    }
    assert.equal(verdict({ 'webhook-signature': wrong }), 'mismatch');
    for (const list of ['', ' ', 'v1', 'v1,', right.slice(3), `V1,${right.slice(3)}`, `v1a,${right.slice(3)}`, `v1=${right.slice(3)}`, right.slice(0, -1),
      `${right}=`, `${right},`, right.replace('=', ''), right.replaceAll('+', '-').replaceAll('/', '_'), right.replace('OE=', 'OF=')]) {
      assert.equal(verdict({ 'webhook-signature': list }), 'malformed', list);
    }
  });

  test('wants exactly one of each header', () => {
    for (const name of Object.keys(VECTOR)) {
      assert.equal(verdict({ [name]: undefined }), 'missing', name);
      assert.equal(verdict({}, [[name.toUpperCase(), Object.entries(VECTOR).find(([own]) => own === name)?.[1] ?? '']]), 'malformed', name);
    }
    assert.equal(verdictOf([], BODY, keys, rules), 'missing');
    assert.equal(verdict({ 'webhook-id': '' }), 'malformed');
  });

  test('covers the id and the time as well as the body', () => {
    assert.equal(verdict({ 'webhook-id': 'msg_other' }), 'mismatch');
    assert.equal(verdict({ 'webhook-timestamp': '1614265331' }), 'mismatch');
    assert.equal(verdict({ 'webhook-timestamp': '01614265330' }), 'mismatch');
    assert.equal(verdictOf(Object.entries(VECTOR), Buffer.from('{"test": 2432232315}'), keys, rules), 'mismatch');
  });

  test('refuses a time that is not decimal digits alone', () => {
    for (const time of ['', '-1614265330', '+1614265330', '1614265330.0', '1614265330.5', '1.614265330e9', '0x60378f32', ' 1', '١٦', '9'.repeat(16)]) {
      assert.equal(verdict({ 'webhook-timestamp': time }), 'malformed', time);
    }
  });

  test('refuses a signed time further from now than the tolerance, either way', () => {
    for (const [seconds, expected] of [[-301, 'timestamp'], [-300, 'current'], [300, 'current'], [301, 'timestamp']] as const) {
      assert.equal(verdict({}, [], SIGNED_AT_MS + seconds * 1000), expected, String(seconds));
    }
    assert.equal(verdictOf(Object.entries(VECTOR), BODY, keys, { ...rules, signatureToleranceSeconds: 1, now: () => SIGNED_AT_MS + 2000 }), 'timestamp');
  });

  test('signs the bytes of an id as they came', () => {
    const headers = standardHeaders(BODY, SECRET_TEXT, 1614265330, 'é');
    assert.equal(verdict({ ...headers, 'webhook-id': Buffer.from('é').toString('latin1') }), 'current');
  });

  test('takes a secret without the prefix as it is', () => {
    const headers = Object.entries(standardHeaders(BODY, Buffer.from('plain text').toString('base64'), 1614265330));
    assert.equal(verdictOf(headers, BODY, keysOf('plain text'), rules), 'current');
    const plain = configOf({ WEBHOOK_SECRET: 'plain text', SIGNATURE_SCHEMES: 'standard-webhooks' }).credentials.webhook;
    assert.deepEqual(plain?.current['standard-webhooks'].export(), Buffer.from('plain text'));
  });

  test('is told from X-Signature by the headers that came, and never both', () => {
    const both = { ...rules, signatureSchemes: ['x-signature', 'standard-webhooks'] } as const;
    const xSignature = ['X-Signature', sign(BODY, SECRET_TEXT)] as const;
    const standard = Object.entries(VECTOR);
    assert.equal(verdictOf([xSignature], BODY, keys, both), 'current');
    assert.equal(verdictOf(standard, BODY, keys, both), 'current');
    assert.equal(verdictOf([...standard, xSignature], BODY, keys, both), 'malformed');
    assert.equal(verdictOf([xSignature, ['webhook-id', 'x']], BODY, keys, both), 'malformed');
    assert.equal(verdictOf([], BODY, keys, both), 'missing');
    assert.equal(verdictOf([xSignature], BODY, keys, rules), 'missing');
    assert.equal(verdictOf(standard, BODY, keys, { ...rules, signatureSchemes: ['x-signature'] }), 'missing');
    assert.equal(verdictOf([xSignature, ...standard], BODY, keys, { ...rules, signatureSchemes: ['x-signature'] }), 'current');
  });
});
