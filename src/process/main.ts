/** The process: arguments and environment in, signals heard, exit statuses out. */
import { parseArgs } from 'node:util';
import { startApp, type App } from '../app.ts';
import { readConfig, type Config } from '../config/config.ts';
import { readCredentials } from '../config/credentials.ts';
import type { DatabaseSettings } from '../config/database-url.ts';
import { readEnvironment } from '../config/environment.ts';
import { guardsOf, warningsOf } from '../config/warnings.ts';
import { StartRefused } from '../errors.ts';
import { createLineWriter, openLogDescriptor, type LineWriter } from '../observe/line-writer.ts';
import { createLog, describeError, describeLostLines, type Log, type LogFields } from '../observe/log.ts';
import { missingHardening, readHardening } from '../operations/hardening.ts';
import type { TakeSignals } from './signals.ts';
import { watchTerminal } from './terminal.ts';
import { readVersion } from '../version.ts';

const EXIT_OK = 0;
/** An operator has to mend something; a restart alone will not help. */
const EXIT_REFUSED = 1;
/** An internal failure that a restart may mend (EX_SOFTWARE of sysexits.h). */
const EXIT_FAILED = 70;

const STDOUT = 1;
/** Longest wait for a slow reader of the log at the end. */
const LAST_FLUSH_MS = 500;
/** Longest wait for the last answers and for the storage to close where it failed for good; past it the status is that of a SIGKILL. */
const FAILURE_STOP_MS = 5000;

/** Runs the service until a signal or a failure ends the process. `args` are the command line's after the script. */
export async function main(args: readonly string[], takeSignals: TakeSignals): Promise<void> {
  // Files that this process creates, the database above all, are readable by their owner only.
  process.umask(0o077);
  const lines = createLineWriter(openLogDescriptor(STDOUT), describeLostLines);
  const plainLog = createLog(lines, 'INFO');
  const exit = (status: number) => exitAfterFlush(lines, status);

  const command = readCommand(args);
  if (command === 'version') {
    lines.write(readVersion());
    return exit(EXIT_OK);
  }
  const reading = readEnvironment(process.env, readConfig);
  const configProblems = reading.valid ? missingWalls(reading.value) : reading.problems;
  const problems = [...(command === 'unknown' ? [USAGE] : []), ...configProblems];
  if (!reading.valid || problems.length > 0) {
    plainLog('ERROR', 'start_refused', { problems });
    return exit(EXIT_REFUSED);
  }
  if (command === 'check-config') {
    plainLog('INFO', 'config_valid', { warnings: warningsOf(reading.value, Date.now()) });
    return exit(EXIT_OK);
  }
  await serve(reading.value, lines, takeSignals);
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

/** What REQUIRE_HARDENED wants and is not there. */
function missingWalls(config: Config): string[] {
  if (config.requireHardened === 'nothing') return [];
  const guards = config.requireHardened === 'everything' ? guardsOf(config).filter(({ isOn }) => !isOn) : [];
  const missing = [...missingHardening(readHardening()), ...guards.map(({ warning }) => warning)];
  return missing.map((problem) => `REQUIRE_HARDENED: ${problem}`);
}

/** What the process found at its start, in one line. */
function describeStart(config: Config): LogFields {
  const { uid, effectiveCapabilities, noNewPrivileges, seccomp, rootReadOnly, nodeOptions, flags } = readHardening();
  return {
    pid: process.pid, version: readVersion(), node_version: process.versions.node, sqlite_version: process.versions['sqlite'], uid,
    effective_capabilities: effectiveCapabilities, no_new_privileges: noNewPrivileges, seccomp, root_read_only: rootReadOnly,
    node_options: nodeOptions, flags, guards_on: guardsOf(config).filter(({ isOn }) => isOn).map(({ name }) => name),
    ...describeDatabase(config.database),
  };
}

const describeDatabase = (database: DatabaseSettings): LogFields => (database.kind === 'sqlite'
  ? { storage: 'sqlite' } : { storage: 'postgresql', database_hosts: database.hosts.map(({ host, port }) => `${host}:${port}`) });

async function serve(config: Config, lines: LineWriter, takeSignals: TakeSignals): Promise<void> {
  const log = createLog(lines, config.logLevel);
  const fail = (error: unknown) => {
    log('ERROR', 'unexpected_error', describeError(error));
    void exitAfterFlush(lines, EXIT_FAILED);
  };
  process.on('uncaughtException', fail);

  const shutdown = createShutdown(log, lines);
  const announce = createLog(lines, 'INFO');
  const starting = startApp({
    config, log, announce: (event, fields) => announce('INFO', event, fields), droppedLogLines: lines.dropped,
  });
  const readAgain = () => readEnvironment(process.env, (environment) => readCredentials(environment, config));
  const isTerminalGone = watchTerminal();
  takeSignals((signal) => {
    if (signal !== 'SIGHUP' || isTerminalGone()) shutdown.onSignal(signal);
    else void starting.then((app) => app.reload(readAgain()), () => {});
  });
  try {
    shutdown.watch(await starting);
    // Only now, so that a start that is refused says why in a line of its own.
    announce('INFO', 'started', describeStart(config));
    log('INFO', 'credentials_read', { set: config.credentials.set });
    for (const warning of warningsOf(config, Date.now())) log('WARNING', 'config_warning', { warning });
  } catch (error) {
    if (!(error instanceof StartRefused)) return fail(error);
    log('ERROR', 'start_refused', { problems: error.problems });
    await exitAfterFlush(lines, EXIT_REFUSED);
  }
}

/** Ends the process on a signal, or when the storage failed for good. */
function createShutdown(log: Log, lines: LineWriter) {
  let app: App | undefined;
  let stopping = false;
  let status = EXIT_OK;

  async function shutDown(cause: string, timeoutMs?: number): Promise<void> {
    stopping = true;
    const { storageClosed = true, ...report } = await app?.stop(timeoutMs) ?? {};
    log('INFO', 'stopping', { cause, ...report });
    await lines.flush(LAST_FLUSH_MS);
    if (storageClosed) process.exit(status);
    endAtOnce();
  }
  const onSignal = (signal: NodeJS.Signals) => {
    if (stopping) endAtOnce();
    else void shutDown(signal);
  };
  return {
    onSignal,
    watch(started: App): void {
      app = started;
      void started.failure.then((reason) => {
        log('ERROR', 'storage_failed', { reason });
        status = EXIT_FAILED;
        if (!stopping) void shutDown('storage_failed', FAILURE_STOP_MS);
      });
    },
  };
}

/** `process.exit` waits for a thread that is in the middle of a statement; this waits for nothing. */
function endAtOnce(): void {
  process.kill(process.pid, 'SIGKILL');
  // As the first process of a container it is deaf to its own SIGKILL.
  process.abort();
}

async function exitAfterFlush(lines: LineWriter, status: number): Promise<void> {
  await lines.flush(LAST_FLUSH_MS);
  process.exit(status);
}
