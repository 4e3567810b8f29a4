import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createBackground } from '../../src/observe/background.ts';

test('a step that fails is told of once when it begins and once when it ends, each step by itself', () => {
  const told: unknown[] = [];
  const { failing, isFailing, failures } = createBackground((...line) => told.push(line));
  failing('checkpoint', null);
  assert.deepEqual([told, isFailing('checkpoint')], [[], false]);
  for (const reason of ['the disk is full', 'the disk is full', 'the disk reports an error']) failing('checkpoint', reason);
  failing('index', 'its thread died');
  assert.deepEqual([isFailing('checkpoint'), isFailing('index'), isFailing('reader')], [true, true, false]);
  assert.deepEqual(failures(), ['checkpoint: the disk is full', 'index: its thread died']);
  failing('checkpoint', null);
  failing('checkpoint', null);
  assert.deepEqual([isFailing('checkpoint'), isFailing('index')], [false, true]);
  failing('checkpoint', 'the disk is full');
  assert.deepEqual(told, [
    ['ERROR', 'checkpoint_failed', { reason: 'the disk is full' }], ['ERROR', 'index_failed', { reason: 'its thread died' }],
    ['INFO', 'checkpoint_recovered'], ['ERROR', 'checkpoint_failed', { reason: 'the disk is full' }],
  ]);
});
