import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runLifeRounds } from '../../../support/life-rounds.ts';

test('killed at any moment while messages are stored, erased and expire, it loses none, brings none back, and counts right', async (t) => {
  const { acknowledged, erased, expired, ...faults } = await runLifeRounds(t, {
    script: 'src/server.ts', rounds: 4, mostBeforeKill: 600, progress: (text) => t.diagnostic(text),
  });
  assert.ok(acknowledged > 0 && erased > 0 && expired > 0, JSON.stringify({ acknowledged, erased, expired }));
  assert.deepEqual(faults, { lost: 0, back: 0, refused: 0, miscounted: 0, problems: 0 });
});
