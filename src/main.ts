/** The process: arguments and environment in, signals heard, exit statuses out. */
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

  try {
    const app = await startApp({ config, log, droppedLogLines: lines.dropped });
    listenForEnd(app, log, lines);
  } catch (error) {
    if (!(error instanceof StartRefused)) return fail(error);
    log('ERROR', 'start_refused', { problems: error.problems });
    await exitAfterFlush(lines, EXIT_REFUSED);
  }
}

function listenForEnd(app: App, log: Log, lines: LineWriter): void {
  let stopping = false;
  const onSignal = (cause: NodeJS.Signals) => {
    // process.exit would wait for a thread that is in the middle of a statement; a second signal means now.
    if (stopping) process.kill(process.pid, 'SIGKILL');
    stopping = true;
    void app.stop().then((report) => {
      log('INFO', 'stopping', { cause, ...report });
      return exitAfterFlush(lines, EXIT_OK);
    });
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);

  void app.failure.then(async (reason) => {
    if (stopping) return;
    stopping = true;
    log('ERROR', 'storage_failed', { reason });
    await Promise.race([app.stop(), new Promise((resolve) => setTimeout(resolve, FAILURE_DRAIN_MS))]);
    await exitAfterFlush(lines, EXIT_FAILED);
  });
}

async function exitAfterFlush(lines: LineWriter, status: number): Promise<void> {
  await lines.flush(LAST_FLUSH_MS);
  process.exit(status);
}
