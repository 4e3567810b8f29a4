import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runCareRounds } from '../../../support/care-rounds.ts';

test('killed at any moment of a backup or a restore, they lose nothing, bring nothing back, and leave one database or the other', async (t) => {
  const { acknowledged, erased, backups, old, replaced, outlivedMs, ...faults } = await runCareRounds(t, {
    code: 'src', rounds: 3, stored: 10_000, progress: (text) => t.diagnostic(text),
  });
  assert.ok(acknowledged > 0 && erased > 0 && backups + old + replaced > 0 && outlivedMs >= 0);
  assert.deepEqual(faults, { lost: 0, back: 0, torn: 0, failed: 0, miscounted: 0, problems: 0, left: 0 });
});
