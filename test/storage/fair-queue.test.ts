import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createFairQueue } from '../../src/storage/fair-queue.ts';

/** A queue with these items, each named after its client. */
function queueOf(capacity: number, ...items: string[]) {
  const queue = createFairQueue<string>(capacity);
  const add = (item: string) => queue.add(item, item.charAt(0));
  for (const item of items) assert.equal(add(item), undefined);
  const drain = () => Array.from({ length: queue.size() }, () => queue.next());
  return { queue, add, drain };
}

describe('createFairQueue', () => {
  test('gives a lone client what it came with, in order', () => {
    const { queue, drain } = queueOf(9, 'a1', 'a2', 'a3');
    assert.equal(queue.size(), 3);
    assert.deepEqual(drain(), ['a1', 'a2', 'a3']);
    assert.deepEqual([queue.next(), queue.size()], [undefined, 0]);
  });

  test('gives clients their turns, whoever came first and with how much', () => {
    const { drain } = queueOf(9, 'a1', 'a2', 'a3', 'a4', 'b1', 'c1', 'c2');
    assert.deepEqual(drain(), ['a1', 'b1', 'c1', 'a2', 'c2', 'a3', 'a4']);
  });

  test('has one that comes again wait for the others first', () => {
    const { queue, add } = queueOf(9, 'a1', 'a2', 'b1', 'b2');
    assert.equal(queue.next(), 'a1');
    add('c1');
    assert.deepEqual([queue.next(), queue.next(), queue.next()], ['b1', 'a2', 'c1']);
    add('a3');
    assert.deepEqual([queue.next(), queue.next()], ['b2', 'a3']);
  });

  test('full, refuses the newest of the client with the most, not the one who comes', () => {
    const { queue, add, drain } = queueOf(4, 'a1', 'a2', 'a3', 'b1');
    assert.equal(add('a4'), 'a4');
    assert.equal(add('c1'), 'a3');
    assert.equal(queue.size(), 4);
    assert.equal(add('b2'), 'b2', 'with as many as another, the one who comes has to go');
    assert.equal(add('d1'), 'a2');
    assert.equal(add('e1'), 'e1', 'all have the same');
    assert.deepEqual(drain(), ['a1', 'b1', 'c1', 'd1']);
  });

  test('lets go of what waits no longer, and of its client with it', () => {
    const { queue, add, drain } = queueOf(3, 'a1', 'b1', 'a2');
    assert.deepEqual([queue.remove('b1'), queue.remove('b1'), queue.remove('x'), queue.size()], [true, false, false, 2]);
    assert.equal(add('b2'), undefined);
    assert.equal(queue.remove('a1'), true);
    assert.deepEqual(drain(), ['a2', 'b2']);
  });
});
