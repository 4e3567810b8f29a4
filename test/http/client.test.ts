import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import { clientOf } from '../../src/http/client.ts';

const client = (remoteAddress: string | undefined) => clientOf({ socket: { remoteAddress } as Socket });

test('clients are told apart by IPv4 address, also where it is written as an IPv6 one', () => {
  assert.equal(client('192.0.2.1'), '192.0.2.1');
  assert.equal(client('::ffff:192.0.2.1'), '192.0.2.1');
  assert.notEqual(client('192.0.2.1'), client('192.0.2.2'));
});

test('clients are told apart by IPv6 network of 64 bits, as one host has all of it', () => {
  assert.equal(client('2001:db8:0:1::1'), '2001:db8:0:1');
  assert.equal(client('2001:db8:0:1:ffff:ffff:ffff:ffff'), client('2001:db8:0:1::1'));
  assert.notEqual(client('2001:db8:0:2::1'), client('2001:db8:0:1::1'));
  assert.equal(client('2001:db8::1'), '2001:db8:0:0');
  assert.equal(client('2001::1:2:3:4:5'), '2001:0:0:1');
  assert.equal(client('::1'), '0:0:0:0');
  assert.equal(client('fe80::1%eth0'), 'fe80:0:0:0');
});

test('one that has gone is nobody in particular', () => {
  assert.equal(client(undefined), 'gone');
});
