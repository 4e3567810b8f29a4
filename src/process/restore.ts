/** The argument of a restore. */
import { StartRefused } from '../errors.ts';
import { restore } from '../storage/care/care.ts';
import { abortedBySignals, databaseOfEnvironment, runCommand } from './command.ts';

const USAGE = 'the argument is SOURCE, the path of a backup';

/** Restores a backup and ends the process. `args` are the command line's after the script. */
export async function main(args: readonly string[]): Promise<void> {
  await runCommand({ doing: 'restoring', done: 'restored', refused: 'restore_refused' }, async ({ tell }) => {
    const [source] = args;
    if (args.length !== 1 || source === undefined || source === '') throw new StartRefused([USAGE]);
    return { ...await restore(databaseOfEnvironment(), { source, now: Date.now(), tell, signal: abortedBySignals() }) };
  });
}
