import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createByteBudget } from '../../src/http/byte-budget.ts';

function openShares(total: number, names: readonly string[]) {
  const taken: string[] = [];
  const budget = createByteBudget(total);
  const shares = names.map((name) => budget.open(() => taken.push(name)));
  return { taken, shares };
}

describe('a byte budget', () => {
  test('takes nothing from anybody up to its total', () => {
    const { taken, shares: [a, b] } = openShares(100, ['a', 'b']);
    a?.change(60);
    b?.change(40);
    assert.deepEqual(taken, []);
  });

  test('past it takes from whoever holds most, not from the newcomer', () => {
    const { taken, shares: [a, b, c] } = openShares(1_000_000, ['a', 'b', 'c']);
    a?.change(900_000);
    b?.change(100_000);
    c?.change(1);
    assert.deepEqual(taken, ['a']);
    c?.change(800_000);
    assert.deepEqual(taken, ['a']);
  });

  test('counts no more what was given back or ended, and takes no share twice', () => {
    const { taken, shares: [a, b] } = openShares(100, ['a', 'b']);
    a?.change(100);
    a?.change(-50);
    a?.end();
    a?.end();
    a?.change(1000);
    b?.change(100);
    assert.deepEqual(taken, []);
    b?.change(1);
    b?.change(1);
    assert.deepEqual(taken, ['b']);
  });

  test('lets nobody claim more while what it took from others is as much as its total, and not given back', () => {
    const { taken, shares: [a, b, c, d] } = openShares(1_000_000, ['a', 'b', 'c', 'd']);
    a?.change(1_000_000);
    b?.change(600_000);
    c?.change(1);
    c?.claim(400_000);
    assert.deepEqual(taken, ['a', 'c']);
    b?.change(-1);
    assert.deepEqual(taken, ['a', 'c']);
    a?.end();
    a?.end();
    d?.claim(400_002);
    assert.deepEqual(taken, ['a', 'c', 'b']);
  });
});
