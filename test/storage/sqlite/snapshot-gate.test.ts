import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { createGateMemory, createSnapshotGate } from '../../../src/storage/sqlite/snapshot-gate.ts';
import { CHECKOUT } from '../../support/server-process.ts';

describe('the gate before snapshots', () => {
  test('ends those that are a second old, and only while it is closed', () => {
    const gate = createSnapshotGate(createGateMemory());
    const ages = [0, 500, 1500, 60_000];
    const ended = () => ages.filter((age) => gate.mustEnd(performance.now() - age));
    assert.deepEqual(ended(), []);
    gate.close();
    assert.deepEqual([ended(), gate.isClosed()], [[1500, 60_000], true]);
    gate.open();
    assert.deepEqual([ended(), gate.isClosed()], [[], false]);
  });

  test('has others wait, but not for ever', () => {
    const gate = createSnapshotGate(createGateMemory());
    gate.pass();
    gate.close();
    gate.pass();
    assert.equal(gate.isClosed(), true);
  });

  test('lets those that wait in another thread go on', async (t) => {
    const memory = createGateMemory();
    const gate = createSnapshotGate(memory);
    gate.close();
    const thread = new Worker(`
      const { parentPort, workerData: { memory, checkout } } = require('node:worker_threads');
      import(checkout + '/src/storage/sqlite/snapshot-gate.ts').then(({ createSnapshotGate }) => {
        const gate = createSnapshotGate(memory);
        parentPort.postMessage('waits');
        while (gate.isClosed()) gate.pass();
        parentPort.postMessage('goes on');
      });`, { eval: true, workerData: { memory, checkout: CHECKOUT } });
    t.after(async () => void (await thread.terminate()));
    const said: unknown[] = [];
    const ended = Promise.withResolvers<void>();
    thread.on('message', (word) => {
      said.push(word);
      if (word === 'waits') gate.open();
      else ended.resolve();
    });
    await ended.promise;
    assert.deepEqual(said, ['waits', 'goes on']);
  });
});
