/** The process: arguments and environment in, signals heard, exit statuses out. */
import { constants } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { startApp, type App } from './app.ts';
import { readConfig, type Config } from './config.ts';
import { StartRefused } from './errors.ts';
import { createLineWriter, type LineWriter } from './observe/line-writer.ts';
import { createLog, describeError, type Log } from './observe/log.ts';
import { readVersion } from './version.ts';

const EXIT_OK = 0;
/** An operator has to mend something; a restart alone will not help. */
const EXIT_REFUSED = 1;
/** An inner failure that a restart may mend (EX_SOFTWARE of sysexits.h). */
const EXIT_FAILED = 70;
/** Added to a signal's number where it cuts the process off, as shells have it. */
const SIGNAL_STATUS_BASE = 128;

const STDOUT = 1;
/** Longest wait for a slow reader of the log at the end. */
const LAST_FLUSH_MS = 500;
/** Time for the last answers where the storage failed for good. */
const FAILURE_DRAIN_MS = 500;

/** Runs the service until a signal or a failure ends the process. `args` are the command line's after the script. */
export async function main(args: readonly string[]): Promise<void> {
  // Whatever is created, the database first of all, is its owner's alone.
  process.umask(0o077);
  const lines = createLineWriter(STDOUT);
  const plainLog = createLog(lines, 'INFO');
  const exit = (status: number) => exitAfterFlush(lines, status);

  const command = readCommand(args);
  if (command === 'version') {
    lines.write(readVersion());
    return exit(EXIT_OK);
  }
  const reading = readConfig(process.env);
  const problems = [...(command === 'unknown' ? [USAGE] : []), ...(reading.valid ? [] : reading.problems)];
  if (!reading.valid || problems.length > 0) {
    plainLog('ERROR', 'start_refused', { problems });
    return exit(EXIT_REFUSED);
  }
  if (command === 'check-config') {
    plainLog('INFO', 'config_valid', { warnings: warningsOf(reading.config) });
    return exit(EXIT_OK);
  }
  await serve(reading.config, lines);
}

const USAGE = 'the arguments are none, --check-config or --version';

function readCommand(args: readonly string[]): 'serve' | 'check-config' | 'version' | 'unknown' {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: { 'check-config': { type: 'boolean' }, version: { type: 'boolean' } },
    });
    if (values.version === true) return 'version';
    return values['check-config'] === true ? 'check-config' : 'serve';
  } catch {
    return 'unknown';
  }
}

function warningsOf(config: Config): string[] {
  return config.secret === null ? ['WEBHOOK_SECRET is not set: no message will be accepted'] : [];
}

async function serve(config: Config, lines: LineWriter): Promise<void> {
  const log = createLog(lines, config.logLevel);
  const fail = (error: unknown) => {
    log('ERROR', 'unexpected_error', describeError(error));
    void exitAfterFlush(lines, EXIT_FAILED);
  };
  process.on('uncaughtException', fail);
  for (const warning of warningsOf(config)) log('WARNING', 'config_warning', { warning });

  const end = createEnd(log, lines);
  try {
    const app = await startApp({ config, log, droppedLogLines: lines.dropped });
    end.handOver(app);
  } catch (error) {
    if (!(error instanceof StartRefused)) return fail(error);
    log('ERROR', 'start_refused', { problems: error.problems });
    await exitAfterFlush(lines, EXIT_REFUSED);
  }
}

/** Ends the process on a signal or when the storage failed for good; a signal counts from the first moment on. */
function createEnd(log: Log, lines: LineWriter) {
  let app: App | undefined;
  let ending = false;

  async function end(cause: string, status: number, patienceMs?: number): Promise<void> {
    ending = true;
    const patience = patienceMs === undefined ? [] : [delay(patienceMs)];
    const report = await Promise.race([app?.stop(), ...patience]);
    log('INFO', 'stopping', { cause, ...report });
    await exitAfterFlush(lines, status);
  }
  const onSignal = (signal: NodeJS.Signals) => {
    // A second signal means now. No thread holds this up: each reads and writes in short steps.
    if (ending) process.exit(SIGNAL_STATUS_BASE + constants.signals[signal]);
    void end(signal, EXIT_OK);
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);

  return {
    handOver(started: App): void {
      app = started;
      void started.failure.then((reason) => {
        if (ending) return;
        log('ERROR', 'storage_failed', { reason });
        return end('storage_failed', EXIT_FAILED, FAILURE_DRAIN_MS);
      });
    },
  };
}

async function exitAfterFlush(lines: LineWriter, status: number): Promise<void> {
  await lines.flush(LAST_FLUSH_MS);
  process.exit(status);
}
