/** A receiver that is killed at any moment of an erasure or of what expires. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runLifeRounds } from '../../support/life-rounds.ts';
import { isInstalled, NOT_INSTALLED, startPostgres } from '../../support/postgres.ts';
import { rowsOfPostgres } from '../../support/stored-rows.ts';

test('killed while messages are stored, erased and expire, it loses none, brings none back, and what is counted is right', {
  skip: !isInstalled && NOT_INSTALLED,
}, async (t) => {
  const server = await startPostgres(t);
  const { acknowledged, erased, expired, ...faults } = await runLifeRounds(t, {
    script: 'src/server.ts', elsewhere: rowsOfPostgres(server, await server.createDatabase()), rounds: 4, mostBeforeKill: 200,
    progress: (text) => t.diagnostic(text),
  });
  assert.ok(acknowledged > 0 && erased > 0 && expired > 0, JSON.stringify({ acknowledged, erased, expired }));
  assert.deepEqual(faults, { lost: 0, back: 0, refused: 0, miscounted: 0, problems: 0 });
});
