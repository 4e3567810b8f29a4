/** The arguments of a backup. */
import { parseArgs } from 'node:util';
import { StartRefused } from '../errors.ts';
import { backUp } from '../storage/care/care.ts';
import { abortedBySignals, databaseOfEnvironment, runCommand } from './command.ts';

const USAGE = 'the arguments are TARGET, a name that is not taken or a folder, and for a folder --keep-days N: backups in it that are ' +
  'older go once a new one is there';
const LARGEST_KEEP_DAYS = 36_500;

/** Makes a backup and ends the process. `args` are the command line's after the script. */
export async function main(args: readonly string[]): Promise<void> {
  await runCommand({ doing: 'backing_up', done: 'backed_up', refused: 'backup_refused' }, async ({ tell }) => {
    const { target, keepDays } = readArguments(args);
    return { ...await backUp(databaseOfEnvironment(), { target, keepDays, now: Date.now(), tell, signal: abortedBySignals() }) };
  });
}

function readArguments(args: readonly string[]): { target: string; keepDays: number | null } {
  const { target, days } = parse(args);
  if (days !== undefined && !/^[1-9][0-9]{0,4}$/.test(days)) throw new StartRefused([USAGE]);
  const keepDays = days === undefined ? null : Number(days);
  if (target === undefined || target === '' || (keepDays ?? 0) > LARGEST_KEEP_DAYS) throw new StartRefused([USAGE]);
  return { target, keepDays };
}

function parse(args: readonly string[]): { target: string | undefined; days: string | undefined } {
  try {
    const { values, positionals } = parseArgs({ args: [...args], options: { 'keep-days': { type: 'string' } }, allowPositionals: true });
    return { target: positionals.length === 1 ? positionals[0] : undefined, days: values['keep-days'] };
  } catch {
    return { target: undefined, days: undefined };
  }
}
