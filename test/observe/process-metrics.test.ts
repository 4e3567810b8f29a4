import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { exposeProcess } from '../../src/observe/process-metrics.ts';
import { createRegistry } from '../../src/observe/prometheus.ts';
import { waitFor } from '../support/wait.ts';

const BLOCKED_MS = 300;
const WINDOW_MS = 60_000;

test('a delay of the event loop is seen by everybody who asks, for a minute at least and two at most', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  const registry = createRegistry();
  exposeProcess(registry);
  const figures = () => ['max', 'mean', 'p99'].map((name) =>
    Number(new RegExp(`^nodejs_eventloop_lag_${name}_seconds (.+)$`, 'm').exec(registry.render())?.[1]));
  const longest = () => figures()[0] ?? 0;

  // Measured from one of its own ticks to the next.
  await delay(50);
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, BLOCKED_MS);
  await delay(50);
  await waitFor('the delay to be seen', () => longest() >= BLOCKED_MS / 2 / 1000);
  assert.ok(longest() >= BLOCKED_MS / 2 / 1000, 'gone for the one who asks next');
  assert.deepEqual(figures(), figures());
  t.mock.timers.tick(WINDOW_MS);
  assert.ok(longest() >= BLOCKED_MS / 2 / 1000, 'gone within a minute');
  t.mock.timers.tick(WINDOW_MS);
  assert.ok(Math.max(...figures()) < 0.001, 'still there after two minutes');
});
