/**
 * The vectors are project Wycheproof's (testvectors_v1/hmac_sha256_test.json, github.com/C2SP/wycheproof, Apache-2.0). Half of the groups
 * have tags truncated to 128 bits, which must be refused: a shorter tag is easier to guess.
 */
import assert from 'node:assert/strict';
import { createSecretKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { signatureFault } from '../../src/webhook/signature.ts';
import { SECRET, sign } from '../support/messages.ts';

interface Vectors {
  readonly numberOfTests: number;
  readonly testGroups: readonly {
    readonly tagSize: number;
    readonly tests: readonly { readonly tcId: number; readonly key: string; readonly msg: string; readonly tag: string; readonly result: string }[];
  }[];
}

describe('signatureFault', () => {
  const secret = createSecretKey(SECRET, 'utf8');
  const body = Buffer.from('{"a":1}');
  const right = sign(body);

  test('agrees with every Wycheproof vector, truncated tags refused', () => {
    const vectors: Vectors = JSON.parse(readFileSync(join(import.meta.dirname, 'wycheproof_hmac_sha256.json'), 'utf8'));
    let checked = 0;
    for (const { tagSize, tests } of vectors.testGroups) {
      for (const { tcId, key, msg, tag, result } of tests) {
        const fault = signatureFault([tag], Buffer.from(msg, 'hex'), createSecretKey(key, 'hex'));
        const expected = tagSize !== 256 ? 'malformed' : result === 'valid' ? null : 'mismatch';
        assert.equal(fault, expected, `vector ${tcId}`);
        checked += 1;
      }
    }
    assert.equal(checked, vectors.numberOfTests);
  });

  test('takes digits of either case, with or without the prefix', () => {
    for (const header of [right, right.toUpperCase(), `sha256=${right}`, `sha256=${right.toUpperCase()}`]) {
      assert.equal(signatureFault([header], body, secret), null);
    }
  });

  test('tells a missing header from a malformed one and a wrong one', () => {
    assert.equal(signatureFault([], body, secret), 'missing');
    for (const header of ['', right.slice(1), `${right}0`, `${right} `, `SHA256=${right}`, `sha256= ${right}`, `sha1=${right}`,
      `v1,${right}`, `g${right.slice(1)}`, `sha256=sha256=${right}`]) {
      assert.equal(signatureFault([header], body, secret), 'malformed', header);
    }
    assert.equal(signatureFault([sign(body, 'another secret')], body, secret), 'mismatch');
    assert.equal(signatureFault([right], Buffer.from('{"a":2}'), secret), 'mismatch');
  });

  test('refuses a repeated header even where one of its values is right', () => {
    assert.equal(signatureFault([right, right], body, secret), 'malformed');
    assert.equal(signatureFault(['0'.repeat(64), right], body, secret), 'malformed');
  });
});
