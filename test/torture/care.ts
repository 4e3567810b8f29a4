import { runCareRounds } from '../support/care-rounds.ts';
import { atLeast, atMost, exactly, type Scenario } from './scenario.ts';

const ROUNDS = 30;
/** So that a copy takes half a second. */
const STORED = 100_000;

export const care: Scenario = {
  name: `Backup and restore under SIGKILL, ${ROUNDS} rounds on one database`,
  async run(scope, progress) {
    const found = await runCareRounds(scope, { code: 'dist', rounds: ROUNDS, stored: STORED, progress });
    return [
      atLeast('backups whose names were there at a kill', found.backups, 1),
      atLeast('restores killed that left the old database', found.old, 1),
      atLeast('restores killed that left the new one', found.replaced, 1),
      exactly('restores killed that left neither', found.torn, 0),
      exactly(`acknowledged messages lost, of ${found.acknowledged + STORED}`, found.lost, 0),
      exactly(`erased messages that came back, of ${found.erased}`, found.back, 0),
      exactly('backups that failed as the server was killed', found.failed, 0),
      exactly('totals that are not those of the rows', found.miscounted, 0),
      exactly('problems that verify.js finds', found.problems, 0),
      exactly('parts of files left after the next backup and restore', found.left, 0),
      atMost('from a kill until the program and the process that copies were gone', found.outlivedMs / 1000, 1, ' s'),
    ];
  },
};
