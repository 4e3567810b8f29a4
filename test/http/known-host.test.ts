import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { cannotBeRebound } from '../../src/http/known-host.ts';

describe('cannotBeRebound', () => {
  test('is true of addresses and of names that no stranger can have', () => {
    for (const host of [
      '127.0.0.1', '127.0.0.1:8000', '127.0.0.1.', '10.1.2.3', '203.0.113.9:80', '0.0.0.0', '[::1]', '[::1]:8000', '[2001:DB8::1]:', '[::ffff:127.0.0.1]',
      'localhost', 'localhost:8000', 'LOCALHOST', 'localhost.', 'localhost.:8000', 'inbox', 'inbox_1', 'a', 'in-box:1',
      'inbox.localhost', 'a.b.localhost:8000', 'Inbox.Local', 'inbox.local.', 'inbox.internal', 'metadata.google.internal', 'inbox.default.svc', 'inbox.default.svc.cluster.local:8000',
    ]) {
      assert.equal(cannotBeRebound(host, []), true, host);
    }
  });

  test('is false of every other name', () => {
    for (const host of [
      'example.com', 'example.com:8000', 'EXAMPLE.com.', 'localhost.example.com', 'local.example.com', '127.0.0.1.example.com', '127.0.0.1.nip.io', 'examplelocal.com',
      'notlocalhost.com', 'a.notlocal', 'a.xinternal', 'svc.example', 'inbox.svc.example.com', '127.1', '0x7f.0.0.1', '1.2.3.4.5', '256.0.0.1', '127.0.0.1:80.com',
      'a..local', '.local', 'localhost..', 'evil%2ecom', 'a,b', 'xn--e1afmkfd.com', '',
    ]) {
      assert.equal(cannotBeRebound(host, []), false, host);
    }
  });

  test('is true of those that are allowed, by their name or by what they end in', () => {
    const allowed = ['inbox.example.com', '.example.org'];
    for (const host of ['inbox.example.com', 'INBOX.example.com.:8443', 'example.org', 'inbox.example.org', 'a.b.example.org:1']) assert.equal(cannotBeRebound(host, allowed), true, host);
    for (const host of ['example.com', 'other.inbox.example.com', 'xinbox.example.com', 'inbox.example.com.evil.com', 'badexample.org', 'example.org.evil.com']) {
      assert.equal(cannotBeRebound(host, allowed), false, host);
    }
  });
});
