import { runLifeRounds } from '../support/life-rounds.ts';
import { atLeast, exactly, type Scenario } from './scenario.ts';

const ROUNDS = 30;
/** Acknowledgements from the beginning of an erasure to the kill, at most: some seconds. */
const MOST_BEFORE_KILL = 3000;

export const life: Scenario = {
  name: `Erasure and retention under SIGKILL, ${ROUNDS} rounds on one database`,
  async run(scope, progress) {
    const found = await runLifeRounds(scope, { script: 'dist/server.js', rounds: ROUNDS, mostBeforeKill: MOST_BEFORE_KILL, progress });
    return [
      atLeast('messages erased', found.erased, 1), atLeast('messages expired', found.expired, 1),
      exactly(`acknowledged messages lost, of ${found.acknowledged}`, found.lost, 0),
      exactly('messages that came back', found.back, 0),
      exactly('repeats of what is gone that were refused', found.refused, 0),
      exactly('counts that are not those of the rows', found.miscounted, 0),
      exactly('problems that verify.js finds', found.problems, 0),
    ];
  },
};
