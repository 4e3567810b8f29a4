import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isFromAnotherSite } from '../../src/http/same-site.ts';

test('a request that a page of another site makes is told from all others', () => {
  for (const [rawHeaders, expected] of [
    [[], false],
    [['Sec-Fetch-Site', 'none'], false],
    [['Sec-Fetch-Site', 'same-origin'], false],
    [['Sec-Fetch-Site', 'cross-site'], true],
    [['Sec-Fetch-Site', 'same-site'], true],
    [['sec-fetch-site', 'CROSS-SITE'], true],
    // Not of today's standard, which has unknown values ignored.
    [['Sec-Fetch-Site', ''], false],
    [['Sec-Fetch-Site', 'other-planet'], false],
    [['Sec-Fetch-Site', 'same-origin', 'Sec-Fetch-Site', 'cross-site'], true],
    [['Sec-Fetch-Site', 'cross-site', 'Sec-Fetch-Site', 'none'], true],
    [['Sec-Fetch-Mode', 'cross-site', 'X-Sec-Fetch-Site', 'cross-site'], false],
  ] as const) {
    assert.equal(isFromAnotherSite(rawHeaders), expected, rawHeaders.join());
  }
});
