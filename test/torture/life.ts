import { type LifeFigures, runLifeRounds } from '../support/life-rounds.ts';
import { startPostgres } from '../support/postgres.ts';
import { rowsOfPostgres } from '../support/stored-rows.ts';
import { atLeast, exactly, type Scenario } from './scenario.ts';

const ROUNDS = 30;
/** Acknowledgements from the beginning of an erasure to the kill, at most: some seconds. */
const MOST_BEFORE_KILL = 3000;

const options = { script: 'dist/server.js', rounds: ROUNDS, mostBeforeKill: MOST_BEFORE_KILL } as const;

const figuresOf = (found: LifeFigures, problems: string) => [
  atLeast('messages erased', found.erased, 1), atLeast('messages expired', found.expired, 1),
  exactly(`acknowledged messages lost, of ${found.acknowledged}`, found.lost, 0),
  exactly('messages that came back', found.back, 0),
  exactly('repeats of what is gone that were refused', found.refused, 0),
  exactly('counts that are not those of the rows', found.miscounted, 0),
  exactly(problems, found.problems, 0),
];

export const life: Scenario = {
  name: `Erasure and retention under SIGKILL, ${ROUNDS} rounds on one database`,
  run: async (scope, progress) => figuresOf(await runLifeRounds(scope, { ...options, progress }), 'problems that verify.js finds'),
};

export const lifeOnPostgres: Scenario = {
  name: `Erasure and retention under SIGKILL of the receiver, ${ROUNDS} rounds on one PostgreSQL`,
  async run(scope, progress) {
    const server = await startPostgres(scope);
    const elsewhere = rowsOfPostgres(server, await server.createDatabase());
    return figuresOf(await runLifeRounds(scope, { ...options, elsewhere, progress }), 'tables of counts that are not those of the rows');
  },
};
