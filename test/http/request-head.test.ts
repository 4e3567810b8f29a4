import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { headerValues, readHead } from '../../src/http/request-head.ts';

const read = (url: string, rawHeaders: string[] = ['Host', 'localhost:8000'], httpVersion = '1.1') =>
  readHead({ url, rawHeaders, httpVersion });

describe('readHead', () => {
  test('splits the target at its first question mark and decodes nothing', () => {
    for (const [url, path, query] of [
      ['/', '/', ''], ['/messages?limit=1', '/messages', 'limit=1'], ['/a?b?c', '/a', 'b?c'], ['/?', '/', ''],
      ['//x/health', '//x/health', ''], ['//', '//', ''], ['/%2e%2e/x', '/%2e%2e/x', ''], ['/a;b', '/a;b', ''],
    ] as const) {
      assert.deepEqual(read(url), { valid: true, target: { path, query } }, url);
    }
  });

  test('allows the absolute form where it names the host that Host names', () => {
    assert.deepEqual(read('http://localhost:8000/stats?x'), { valid: true, target: { path: '/stats', query: 'x' } });
    assert.deepEqual(read('HTTP://LOCALHOST:8000'), { valid: true, target: { path: '/', query: '' } });
    assert.deepEqual(read('http://localhost:8000?x'), { valid: true, target: { path: '/', query: 'x' } });
    for (const url of ['http://other:8000/', 'http://localhost/', 'http://a@localhost:8000/', 'ftp://localhost:8000/', 'http:///']) {
      assert.equal(read(url).valid, false, url);
    }
  });

  test('refuses other forms and bytes of a target', () => {
    for (const url of ['*', '', 'stats', 'localhost:8000', '/a#b', '/a b', '/é', '/\x7f', '/a\0']) assert.equal(read(url).valid, false, url);
  });

  test('wants one well-formed Host', () => {
    for (const host of ['localhost', 'a.example:80', '127.0.0.1', '[::1]:8000', '[fe80::1]', 'x:', 'a_b', 'a%20b', 'a,b']) {
      assert.equal(read('/', ['Host', host]).valid, true, host);
    }
    for (const host of ['', ':80', 'a b', 'a/b', 'a@b', 'a:b', 'a:123456', '[::1', '[x]', '[127.0.0.1]', '%zz', 'a?']) {
      assert.equal(read('/', ['Host', host]).valid, false, host);
    }
    assert.equal(read('/', ['Host', 'a', 'host', 'a']).valid, false);
    assert.equal(read('/', []).valid, false);
    assert.equal(read('/', [], '1.0').valid, true);
  });

  test('refuses other versions and transfer codings, and ignores upgrades', () => {
    const host = ['Host', 'a'];
    assert.equal(read('/', host, '2.0').valid, false);
    assert.equal(read('/', host, '0.9').valid, false);
    assert.equal(read('/', [...host, 'Transfer-Encoding', 'Chunked']).valid, true);
    assert.equal(read('/', [...host, 'Transfer-Encoding', 'gzip, chunked']).valid, false);
    assert.equal(read('/', [...host, 'Transfer-Encoding', 'chunked', 'Transfer-Encoding', 'chunked']).valid, false);
    assert.equal(read('/', [...host, 'Transfer-Encoding', 'identity']).valid, false);
    assert.equal(read('/', [...host, 'Transfer-Encoding', 'chunked'], '1.0').valid, false);
    assert.equal(read('/', [...host, 'Upgrade', 'h2c']).valid, true);
  });
});

test('headerValues finds every value of a name in any case, and no other', () => {
  const raw = ['X-Signature', '1', 'x-signature', '2', 'X-Signature2', '3', 'Y', 'x-signature', 'X-SIGNATURE', ''];
  assert.deepEqual(headerValues(raw, 'x-signature'), ['1', '2', '']);
});
