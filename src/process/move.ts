/** The process of a move: arguments and environment in, lines and an exit status out. */
import { readDatabaseCredentials } from '../config/database-credentials.ts';
import { readDatabaseUrl } from '../config/database-url.ts';
import { readEnvironment, type Reading } from '../config/environment.ts';
import { createSecrets } from '../config/secrets.ts';
import { StartRefused, StorageUnavailable } from '../errors.ts';
import { createLineWriter, openLogDescriptor } from '../observe/line-writer.ts';
import { createLog, describeError, describeLostLines, type Log } from '../observe/log.ts';
import { move, type MoveReport, type TellProgress } from '../storage/move/move.ts';
import { openSource, openTarget, type Place } from '../storage/move/open.ts';

const EXIT_OK = 0;
/** An operator has to mend something first. */
const EXIT_REFUSED = 1;
/** The same command again goes on (EX_SOFTWARE of sysexits.h). */
const EXIT_FAILED = 70;

const STDOUT = 1;
/** Longest wait for a slow reader of the last lines. */
const LAST_FLUSH_MS = 500;
const TELL_EVERY_MS = 1000;

const USAGE = 'the arguments are SOURCE and TARGET: one the path of a database file, the other postgresql://user@host/name ' +
  '(a password goes into DATABASE_PASSWORD or DATABASE_PASSWORD_FILE)';

/** Moves all messages, and ends the process. `args` are the command line's after the script. */
export async function main(args: readonly string[]): Promise<void> {
  // A file that this process creates is readable by its owner only.
  process.umask(0o077);
  const lines = createLineWriter(openLogDescriptor(STDOUT), describeLostLines);
  const log = createLog(lines, 'INFO');
  const status = await run(args, log);
  await lines.flush(LAST_FLUSH_MS);
  process.exit(status);
}

async function run(args: readonly string[], log: Log): Promise<number> {
  try {
    const report = await moveBetween(readPlaces(args), process.stdout.isTTY ? redraw() : tellIn(log));
    const { source, target, isEqual } = report;
    if (isEqual) log('INFO', 'moved', { messages: target.messages, sha256: target.sha256 });
    else log('ERROR', 'move_differs', { source, target, problems: [DIFFERENT] });
    return isEqual ? EXIT_OK : EXIT_REFUSED;
  } catch (error) {
    if (error instanceof StartRefused) {
      log('ERROR', 'move_refused', { problems: error.problems.map((problem) => problem.replace(/^DATABASE_URL: /, '')) });
      return EXIT_REFUSED;
    }
    const reason = error instanceof StorageUnavailable ? { reason: error.reason } : describeError(error);
    log('ERROR', 'move_failed', { ...reason, problems: ['the same command again goes on where this one has ended'] });
    return EXIT_FAILED;
  }
}

const DIFFERENT = 'SOURCE and TARGET are not equal: where messages were stored in SOURCE meanwhile, stop that, and the same command ' +
  'again takes them too; otherwise begin again with an empty TARGET';

interface Places {
  readonly source: Place;
  readonly target: Place;
}

/** Throws StartRefused where they cannot be meant. */
function readPlaces(args: readonly string[]): Places {
  const [source, target] = args;
  if (args.length !== 2 || source === undefined || target === undefined) throw new StartRefused([USAGE]);
  const places = { source: readPlace('SOURCE', source), target: readPlace('TARGET', target) };
  if (places.source.kind === places.target.kind) throw new StartRefused([USAGE]);
  return places;
}

function readPlace(name: string, url: string): Place {
  const reading: Reading<Place | null> = readEnvironment({ ...process.env, DATABASE_URL: url }, (environment) => {
    const found = readDatabaseUrl(environment);
    if (!found.valid) {
      environment.problems.push(...found.problems);
      return null;
    }
    const { settings } = found.value;
    if (settings.kind === 'sqlite') return settings;
    const credentials = readDatabaseCredentials(environment, createSecrets(environment));
    return credentials && { ...settings, credentials };
  });
  // What is wrong with a DATABASE_URL is wrong with an argument here.
  if (!reading.valid) throw new StartRefused(reading.problems.map((problem) => problem.replaceAll('DATABASE_URL', name)));
  if (reading.value === null) throw new StartRefused([USAGE]);
  return reading.value;
}

/** Rejects with StartRefused, StorageUnavailable, and what else may go wrong. Both sides are closed then, too. */
async function moveBetween(places: Places, tell: TellProgress): Promise<MoveReport> {
  const source = await openSource(places.source);
  try {
    const target = await openTarget(places.target);
    try {
      return await move(source, target, tell);
    } finally {
      await target.close();
    }
  } finally {
    await source.close();
  }
}

/** Lets through what begins a step, and then one in a second. */
function sparsely(tell: TellProgress): TellProgress {
  let current = '';
  let toldAt = -Infinity;
  return (step, done, messages) => {
    if (step === current && performance.now() - toldAt < TELL_EVERY_MS) return;
    current = step;
    toldAt = performance.now();
    tell(step, done, messages);
  };
}

const tellIn = (log: Log): TellProgress => sparsely((step, done, messages) => log('INFO', 'moving', { step, done, messages }));

/** One line of a terminal, written over each time, and by the line that comes at the end. */
function redraw(): TellProgress {
  return sparsely((step, done, messages) => {
    process.stdout.clearLine(0);
    process.stdout.write(`${step} ${done} of ${messages}`);
    process.stdout.cursorTo(0);
  });
}
