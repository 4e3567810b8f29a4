/** A program that does one thing and ends: its lines, its progress, the signals that end it before, and its exit status. */
import { readDatabaseUrl, type DatabaseSettings } from '../config/database-url.ts';
import { StartRefused, StorageUnavailable } from '../errors.ts';
import { createLineWriter, openLogDescriptor } from '../observe/line-writer.ts';
import { createLog, describeError, describeLostLines, type Log, type LogFields } from '../observe/log.ts';
import type { TellProgress } from '../storage/care/options.ts';
import { hearSignals } from './signals.ts';

const EXIT_OK = 0;
/** An operator has to mend something first. */
const EXIT_REFUSED = 1;
/** An internal failure (EX_SOFTWARE of sysexits.h). */
const EXIT_FAILED = 70;

const STDOUT = 1;
/** Longest wait for a slow reader of the last lines. */
const LAST_FLUSH_MS = 500;
const TELL_EVERY_MS = 1000;

export interface Work {
  readonly tell: TellProgress;
  readonly log: Log;
}

/**
 * Does the work and ends the process: with status 0 and a line `<event>` where it resolves with fields for that, with status 1 where it
 * resolves with null, having said why, or rejects with StartRefused, else with 70. `doing` names its progress.
 */
export async function runCommand(
  { doing, done, refused }: { readonly doing: string; readonly done: string; readonly refused: string },
  work: (context: Work) => Promise<LogFields | null>,
): Promise<void> {
  // Files that this process creates are readable by their owner only.
  process.umask(0o077);
  const lines = createLineWriter(openLogDescriptor(STDOUT), describeLostLines);
  const log = createLog(lines, 'INFO');
  const progress = process.stdout.isTTY ? redraw() : { tell: tellIn(log, doing), end: () => {} };

  const run = async (): Promise<number> => {
    try {
      const fields = await work({ tell: progress.tell, log });
      progress.end();
      if (fields === null) return EXIT_REFUSED;
      log('INFO', done, fields);
      return EXIT_OK;
    } catch (error) {
      progress.end();
      const isRefused = error instanceof StartRefused;
      if (isRefused) log('ERROR', refused, { problems: error.problems });
      else log('ERROR', 'unexpected_error', error instanceof StorageUnavailable ? { reason: error.reason } : describeError(error));
      return isRefused ? EXIT_REFUSED : EXIT_FAILED;
    }
  };
  const status = await run();
  await lines.flush(LAST_FLUSH_MS);
  process.exit(status);
}

/**
 * From now on a signal that would end the process aborts this instead, with StartRefused as the reason: for work that has something to
 * clean up and lets the event loop turn. The first process of a container hears signals only so.
 */
export function abortedBySignals(): AbortSignal {
  const ending = new AbortController();
  hearSignals()((name) => ending.abort(new StartRefused([`ended by ${name}`])));
  return ending.signal;
}

/** What DATABASE_URL says; nothing else of the environment is looked at. Throws StartRefused where it cannot be meant. */
export function databaseOfEnvironment(): DatabaseSettings {
  const reading = readDatabaseUrl({ text: (name) => process.env[name] });
  if (!reading.valid) throw new StartRefused(reading.problems);
  return reading.value.settings;
}

/** Lets through what begins a step, and then one in a second. */
function sparsely(tell: TellProgress): TellProgress {
  let current = '';
  let toldAt = -Infinity;
  return (step, amount) => {
    if (step === current && performance.now() - toldAt < TELL_EVERY_MS) return;
    current = step;
    toldAt = performance.now();
    tell(step, amount);
  };
}

const tellIn = (log: Log, doing: string): TellProgress => sparsely((step, amount) => log('INFO', doing, { step, ...amount }));

/** One line of a terminal, written over each time. */
function redraw(): { tell: TellProgress; end(): void } {
  const clear = () => process.stdout.write('\r\x1b[K');
  return {
    tell: sparsely((step, { unit, done, of }) => {
      clear();
      process.stdout.write(`${step}: ${unit === 'bytes' ? `${mega(done)} of about ${mega(of)} MB` : `${done} of ${of} ${unit}`}`);
    }),
    end: () => void clear(),
  };
}

const mega = (bytes: number) => (bytes / 1e6).toFixed(1);
