/** The argument of a verification. */
import { readDatabaseUrl } from '../config/database-url.ts';
import { StartRefused } from '../errors.ts';
import { verify } from '../storage/care/care.ts';
import { databaseOfEnvironment, runCommand } from './command.ts';

/** Looks at a database, says what is wrong with it, a line each, and ends the process. `args` are the command line's after the script. */
export async function main(args: readonly string[]): Promise<void> {
  await runCommand({ doing: 'verifying', done: 'verified', refused: 'verification_refused' }, async ({ tell, log }) => {
    const { problems, ...found } = await verify(databaseOf(args), { tell, say: (problem) => log('ERROR', 'problem', { problem }) });
    if (problems === 0) return found;
    log('ERROR', 'verification_failed', { problems, ...found });
    return null;
  });
}

function databaseOf(args: readonly string[]) {
  const [file] = args;
  if (args.length === 0) return databaseOfEnvironment();
  const reading = readDatabaseUrl({ text: () => file });
  if (args.length > 1 || !reading.valid) throw new StartRefused(['the argument is none, or FILE, the path of a database']);
  return reading.value.settings;
}
