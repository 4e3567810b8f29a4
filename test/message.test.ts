import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { instantOf, validateMessage } from '../src/message.ts';
import { message } from './support/messages.ts';

/** The faults of a message with one field changed, as `field: type`. */
function faultsOf(changes: Record<string, unknown>): string[] {
  const validation = validateMessage({ ...message(), ...changes });
  return validation.valid ? [] : validation.faults.map(({ loc, type }) => `${loc.join('.')}: ${type}`);
}

describe('validateMessage', () => {
  test('keeps what is valid and drops what is unknown', () => {
    const validation = validateMessage({ ...message(), extra: 1 });
    assert.deepEqual(validation, { valid: true, message: message() });
  });

  test('takes a missing text and a null text as null, and an empty one as empty', () => {
    for (const [given, kept] of [[undefined, null], [null, null], ['', '']] as const) {
      const validation = validateMessage({ ...message(), text: given });
      assert.equal(validation.valid && validation.message.text, kept);
    }
  });

  test('wants an object', () => {
    for (const value of [null, 1, 'text', true, [], [message()]]) {
      assert.deepEqual(validateMessage(value), {
        valid: false, faults: [{ loc: ['body'], msg: 'must be a JSON object', type: 'object_type' }],
      });
    }
  });

  test('reports every fault at once', () => {
    const validation = validateMessage({ from: 'x', to: 5, text: 'a\0b' });
    assert.equal(validation.valid, false);
    assert.deepEqual(!validation.valid && validation.faults.map(({ loc, type }) => [loc, type]), [
      [['body', 'message_id'], 'missing'], [['body', 'from'], 'e164'], [['body', 'to'], 'string_type'],
      [['body', 'ts'], 'missing'], [['body', 'text'], 'nul_character'],
    ]);
  });

  test('no fault repeats a value', () => {
    const canary = 'canary-4711';
    const validation = validateMessage({ message_id: [canary], from: canary, to: canary, ts: canary, text: { canary } });
    assert.equal(validation.valid, false);
    assert.ok(!JSON.stringify(validation).includes(canary));
  });

  test('ignores fields that come by way of the prototype', () => {
    const input: unknown = JSON.parse(`{"__proto__": ${JSON.stringify(message())}}`);
    assert.equal(validateMessage(input).valid, false);
  });

  const accepted: Record<string, unknown[]> = {
    message_id: ['x', 'x'.repeat(512), '😀'.repeat(512), ' ', 'é', '\u2028', 'a/b?c#d'],
    from: ['+12', '+123456789012345'],
    to: ['+91', '+999999999999999'],
    text: ['x'.repeat(4096), '😀'.repeat(4096), '\n\t\u0001', '\ufeff', '%_'],
    ts: [
      '2025-01-15T10:00:00Z', '2024-02-29T23:59:59Z', '2000-02-29T00:00:00.1Z', '0000-01-01T00:00:00Z',
      '9999-12-31T23:59:59.999999999Z', '2025-04-30T10:00:00.000000000Z',
    ],
  };
  const refused: Record<string, [unknown, string][]> = {
    message_id: [
      ['', 'string_too_short'], ['x'.repeat(513), 'string_too_long'], ['😀'.repeat(513), 'string_too_long'],
      ['x'.repeat(2000), 'string_too_long'], ['a\nb', 'control_character'], ['\u0000', 'control_character'],
      ['\u007f', 'control_character'], ['\u0085', 'control_character'], ['\ud800', 'string_unicode'],
      [null, 'string_type'], [1, 'string_type'], [['m1'], 'string_type'],
    ],
    from: [
      '919876543210', '+0123456789', '+1', '+1234567890123456', '+12a', '+12 3', ' +12', '+12\n', '++12', '', '+１２３', 'tel:+12',
    ].map((number) => [number, 'e164']),
    to: [['+', 'e164'], [911, 'string_type'], [null, 'string_type']],
    text: [
      ['x'.repeat(4097), 'string_too_long'], ['😀'.repeat(4097), 'string_too_long'], ['\0', 'nul_character'],
      ['\udc00\ud800', 'string_unicode'], [0, 'string_type'], [false, 'string_type'], [{}, 'string_type'],
    ],
    ts: [
      '2025-01-15t10:00:00Z', '2025-01-15T10:00:00z', '2025-01-15 10:00:00Z', '2025-01-15T10:00:00', '2025-01-15T10:00:00+00:00',
      '2025-02-29T10:00:00Z', '1900-02-29T10:00:00Z', '2025-04-31T10:00:00Z', '2025-00-10T10:00:00Z', '2025-13-10T10:00:00Z',
      '2025-01-00T10:00:00Z', '2025-01-32T10:00:00Z', '2025-01-15T24:00:00Z', '2025-01-15T10:60:00Z', '2025-01-15T10:00:60Z',
      '2025-01-15T10:00:00.Z', '2025-01-15T10:00:00.1234567890Z', '2025-01-15T10:00:00,5Z', '2025-1-15T10:00:00Z',
      '2025-01-15T10:00Z', '+2025-01-15T10:00:00Z', '2025-01-15T10:00:00Z\n', ' 2025-01-15T10:00:00Z', '',
    ].map((ts) => [ts, 'timestamp']),
  };
  for (const [field, values] of Object.entries(accepted)) {
    test(`accepts every ${field} that the contract allows`, () => {
      for (const value of values) assert.deepEqual(faultsOf({ [field]: value }), [], JSON.stringify(value));
    });
  }
  for (const [field, cases] of Object.entries(refused)) {
    test(`refuses every ${field} that it does not`, () => {
      for (const [value, type] of cases) assert.deepEqual(faultsOf({ [field]: value }), [`body.${field}: ${type}`], JSON.stringify(value));
    });
  }
});

describe('instantOf', () => {
  test('orders as time does, by bytes', () => {
    const inOrder = [
      '0000-01-01T00:00:00Z', '2025-01-15T09:59:59.999999999Z', '2025-01-15T10:00:00Z', '2025-01-15T10:00:00.000000001Z',
      '2025-01-15T10:00:00.05Z', '2025-01-15T10:00:00.5Z', '2025-01-15T10:00:01Z', '2300-01-01T00:00:00Z',
    ].map(instantOf);
    assert.ok(inOrder.every((instant) => typeof instant === 'string'));
    assert.deepEqual(inOrder.toSorted(), inOrder);
  });

  test('is one for every way to write it', () => {
    assert.equal(instantOf('2025-01-15T10:00:00.50Z'), instantOf('2025-01-15T10:00:00.5Z'));
    assert.equal(instantOf('2025-01-15T10:00:00.000Z'), instantOf('2025-01-15T10:00:00Z'));
  });

  test('is null for what is no instant', () => assert.equal(instantOf('yesterday'), null));
});
