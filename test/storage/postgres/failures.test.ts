import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { ConnectionFailed, endsConnection, kindOf, LoginRefused, PostgresError } from '../../../src/storage/postgres/failures.ts';

const error = (sqlstate: string, severity = 'ERROR') => new PostgresError({ sqlstate, severity, message: 'a value: secret' });

test('a failure means what its code says, and whether the connection goes on', () => {
  const expected = {
    40001: ['retry at once', false], '40P01': ['retry at once', false], 53100: ['disk full', false], 25006: ['read-only', true],
    '08007': ['outcome unknown', true], 40003: ['outcome unknown', true],
    '08000': ['connection ends', true], '08006': ['connection ends', true],
    '57P01': ['connection ends', true], '57P02': ['connection ends', true],
    '57P03': ['connection ends', true], '25P03': ['connection ends', true],
    22012: ['other', false], '42P01': ['other', false], '25P02': ['other', false],
    57014: ['other', false], 40002: ['other', false], 53300: ['other', false],
  };
  for (const [sqlstate, found] of Object.entries(expected)) {
    assert.deepEqual([kindOf(error(sqlstate)), endsConnection(error(sqlstate))], found, sqlstate);
  }
});

test('an error after which the server closes ends the connection whatever its code', () => {
  for (const severity of ['FATAL', 'PANIC']) {
    assert.deepEqual([kindOf(error('53300', severity)), endsConnection(error('53300', severity))], ['connection ends', true]);
    assert.deepEqual([kindOf(error('53100', severity)), endsConnection(error('53100', severity))], ['disk full', true]);
  }
});

test('a connection that is lost tells whether the outcome is known', () => {
  assert.equal(kindOf(new ConnectionFailed('lost')), 'connection ends');
  assert.equal(kindOf(new ConnectionFailed('lost', { isOutcomeUnknown: true })), 'outcome unknown');
  assert.equal(kindOf(new LoginRefused('set a password')), 'connection ends');
  assert.equal(kindOf(new TypeError('a bug')), 'other');
});

test('an error shows nothing of what the server said, unless it is asked', () => {
  const found = error('22P02');
  for (const shown of [String(found), found.stack ?? '', JSON.stringify(found), inspect(found, { depth: 9, showHidden: true })]) {
    assert.ok(!shown.includes('secret'), shown);
  }
  assert.equal(found.serverMessage, 'a value: secret');
});
