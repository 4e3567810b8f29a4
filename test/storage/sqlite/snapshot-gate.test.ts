import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { Worker } from 'node:worker_threads';
import { createGateMemory, createSnapshotGate } from '../../../src/storage/sqlite/snapshot-gate.ts';
import { CHECKOUT } from '../../support/server-process.ts';
import { waitFor } from '../../support/wait.ts';

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
    const reader = startReader(t, memory);
    await waitFor('the reader', () => reader.said.length === 1);
    gate.open();
    await reader.ended;
    assert.deepEqual(reader.said, ['waits', 'goes on']);
  });

  test('is open again once all have opened it that had closed it, however often each did', async (t) => {
    const memory = createGateMemory();
    const [messages, index] = [createSnapshotGate(memory), createSnapshotGate(memory)];
    for (const gate of [messages, index, messages]) gate.close();
    const reader = startReader(t, memory);
    await waitFor('the reader', () => reader.said.length === 1);
    index.open();
    index.open();
    assert.deepEqual([messages.isClosed(), index.isClosed(), index.mustEnd(-Infinity)], [true, true, true]);
    // It has looked again by then, and stays out.
    await waitFor('another look', () => reader.looks() > 2);
    assert.deepEqual(reader.said, ['waits']);
    messages.open();
    await reader.ended;
    assert.deepEqual([reader.said, messages.isClosed(), index.isClosed()], [['waits', 'goes on'], false, false]);
  });
});

/** A thread that waits until the gate is open. */
function startReader(t: TestContext, memory: SharedArrayBuffer) {
  const looks = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  const thread = new Worker(`
    const { parentPort, workerData: { memory, looks, checkout } } = require('node:worker_threads');
    import(checkout + '/src/storage/sqlite/snapshot-gate.ts').then(({ createSnapshotGate }) => {
      const gate = createSnapshotGate(memory);
      parentPort.postMessage('waits');
      for (; gate.isClosed(); gate.pass()) Atomics.add(looks, 0, 1);
      parentPort.postMessage('goes on');
    });`, { eval: true, workerData: { memory, looks, checkout: CHECKOUT } });
  t.after(async () => void (await thread.terminate()));
  const said: unknown[] = [];
  const ended = Promise.withResolvers<void>();
  thread.on('message', (word) => {
    said.push(word);
    if (word === 'goes on') ended.resolve();
  });
  return { said, looks: () => Atomics.load(looks, 0), ended: ended.promise };
}
