/** Throw-away PostgreSQL servers, from what is installed: in PATH, or else the newest where Debian puts them. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { appendFileSync, chownSync, copyFileSync, existsSync, globSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { freePort } from './free-port.ts';
import { temporaryFolder, type Scope } from './temporary.ts';
import { waitFor } from './wait.ts';

export const SUPERUSER = 'postgres';
/** They refuse to run as root: this is `nobody`. */
const UNPRIVILEGED = 65_534;
const ATTEMPTS_AT_A_PORT = 5;

const versionOf = (folder: string) => Number(/(\d+)\/bin$/.exec(folder)?.[1]);
const folders = [
  ...(process.env['PATH'] ?? '').split(delimiter),
  ...globSync('/usr/lib/postgresql/*/bin').toSorted((a, b) => versionOf(b) - versionOf(a)),
];
/** The folder of the programs. */
export const binaries = folders.find((folder) => ['initdb', 'postgres', 'psql'].every((name) => existsSync(join(folder, name))));

/** False where PostgreSQL is not installed: `describe('…', { skip: !isInstalled && NOT_INSTALLED }, …)`. */
export const isInstalled = binaries !== undefined;
export const NOT_INSTALLED = 'PostgreSQL is not installed';

/** Whom to be where this process is root, for spawn(). */
export const user = process.getuid?.() === 0 ? { uid: UNPRIVILEGED, gid: UNPRIVILEGED } : {};
const binary = (name: string) => join(binaries ?? '', name);
const run = promisify(execFile);

export interface PostgresOptions {
  /** Of postgresql.conf, without quotes: `{ log_statement: 'all' }`. `fsync` is on, as by default. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Lines of pg_hba.conf that come before those that let everybody in. */
  readonly hba?: readonly string[];
  /** Of the superuser. With one, TCP wants SCRAM-SHA-256; the Unix socket still trusts. */
  readonly password?: string;
  /** Files that are copied into the data folder, readable by the server alone: `{ 'server.key': '/path' }`. */
  readonly files?: Readonly<Record<string, string>>;
}

export interface Postgres {
  readonly host: '127.0.0.1';
  readonly port: number;
  /** The folder of its Unix socket, a `host` too. */
  readonly socketFolder: string;
  readonly dataFolder: string;
  /** Everything that it has logged. */
  log(): string;
  /** Makes an empty database, and returns its name. */
  createDatabase(): Promise<string>;
  /** As a target of a connection: the superuser over the Unix socket. */
  target(database: string): { host: string; port: number; tls: null; user: string; database: string; password: null };
  /** Changes a setting, and waits until new sessions have it. */
  set(name: string, value: string): Promise<void>;
  /** Runs SQL as the superuser by psql, and returns its output: a line a row, columns separated by `|`. */
  sql(sql: string, database?: string): Promise<string>;
  /** Stops (SIGSTOP) the server and all its processes: sockets stay open, and nobody answers. */
  freeze(): void;
  thaw(): void;
  /** Ends it at once and without a checkpoint, as by `kill -9`. */
  kill(): Promise<void>;
  /** Ends it in order where it runs, and starts it again on the same port with the same data. */
  restart(): Promise<void>;
}

async function initialise(folder: string, dataFolder: string, options: PostgresOptions): Promise<void> {
  const { settings = {}, hba = [], password, files = {} } = options;
  const passwordFile = join(folder, 'password');
  if (password !== undefined) {
    writeFileSync(passwordFile, password, { mode: 0o600 });
    if (user.uid !== undefined) chownSync(passwordFile, user.uid, user.gid);
  }
  await run(binary('initdb'), [
    '--pgdata', dataFolder, '--username', SUPERUSER, '--auth', 'trust', '--encoding', 'UTF8', '--locale', 'C.UTF-8', '--no-sync',
    ...(password === undefined ? [] : ['--pwfile', passwordFile]),
  ], { ...user, cwd: folder });
  const lines = {
    listen_addresses: '127.0.0.1', unix_socket_directories: folder,
    dynamic_shared_memory_type: 'mmap', shared_buffers: '32MB', max_connections: '100',
    ...settings,
  };
  writeFileSync(join(dataFolder, 'postgresql.conf'), Object.entries(lines).map(([name, value]) => `${name} = '${value}'\n`).join(''));
  const tcp = password === undefined ? 'trust' : 'scram-sha-256';
  const everybody = ['all', 'replication'].flatMap((database) => [`local ${database} all trust`, `host ${database} all 127.0.0.1/32 ${tcp}`]);
  writeFileSync(join(dataFolder, 'pg_hba.conf'), [...hba, ...everybody, ''].join('\n'));
  for (const [name, source] of Object.entries(files)) {
    const path = join(dataFolder, name);
    // Made anew by its mode, whatever that of the source.
    writeFileSync(path, '', { mode: 0o600 });
    copyFileSync(source, path);
    if (user.uid !== undefined) chownSync(path, user.uid, user.gid);
  }
}

/** Starts a server on a free loopback port and on a Unix socket, and ends it with its scope. */
export const startPostgres = (scope: Scope, options: PostgresOptions = {}): Promise<Postgres> =>
  serve(scope, (folder, dataFolder) => initialise(folder, dataFolder, options));

/** Starts a server that has all that another one has, and follows it until `SELECT pg_promote()`. */
export const startStandby = (scope: Scope, primary: Postgres): Promise<Postgres> => serve(scope, async (folder, dataFolder) => {
  await run(binary('pg_basebackup'), [
    '--pgdata', dataFolder, '--write-recovery-conf', '--checkpoint', 'fast', '--no-sync',
    '--host', primary.socketFolder, '--port', String(primary.port), '--username', SUPERUSER,
  ], { ...user, cwd: folder });
  appendFileSync(join(dataFolder, 'postgresql.conf'), `unix_socket_directories = '${folder}'\n`);
});

/** Waits until a standby follows, and from then on, where it is to be synchronous, every commit for it. */
export async function waitForStandby(primary: Postgres, { isSynchronous }: { readonly isSynchronous: boolean }): Promise<void> {
  await waitFor('the standby', async () => await primary.sql('SELECT state FROM pg_stat_replication') === 'streaming');
  if (!isSynchronous) return;
  await primary.set('synchronous_standby_names', '*');
  await waitFor('synchronous replication', async () => await primary.sql('SELECT sync_state FROM pg_stat_replication') === 'sync');
}

async function serve(scope: Scope, makeData: (folder: string, dataFolder: string) => Promise<void>): Promise<Postgres> {
  let removeFolder: () => void | Promise<void> = () => {};
  const folder = temporaryFolder({ after: (remove) => { removeFolder = remove; } });
  scope.after(async () => {
    await stop();
    await removeFolder();
  });
  if (user.uid !== undefined) chownSync(folder, user.uid, user.gid);
  const dataFolder = join(folder, 'data');
  await makeData(folder, dataFolder);
  let port = 0;
  let child: ChildProcess | undefined;
  let ended: Promise<unknown> = Promise.resolve();
  let log = '';

  const sql = async (text: string, database = SUPERUSER) => {
    const { stdout } = await run(binary('psql'), [
      '--no-psqlrc', '--no-align', '--tuples-only', '--quiet', '--set', 'ON_ERROR_STOP=1',
      '--host', folder, '--port', String(port), '--username', SUPERUSER, '--dbname', database, '--command', text,
    ]);
    return stdout.trim();
  };

  /** False where it ended before it was ready. */
  async function start(): Promise<boolean> {
    const started = spawn(binary('postgres'), ['-D', dataFolder, '-p', String(port)], {
      ...user, cwd: folder, stdio: ['ignore', 'ignore', 'pipe'],
    });
    child = started;
    const from = log.length;
    started.stderr.on('data', (chunk) => { log += String(chunk); });
    ended = new Promise((resolve) => started.on('close', resolve).on('error', resolve));
    const isReady = () => log.slice(from).includes('database system is ready to accept');
    await waitFor(() => `PostgreSQL; its log: ${log}`, () => isReady() || started.exitCode !== null || started.signalCode !== null);
    return isReady();
  }

  /** The server last where they go on, so that it does not miss the end of one. */
  function signalAll(signal: 'SIGSTOP' | 'SIGCONT'): void {
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const { pid } = child;
    if (signal === 'SIGSTOP') process.kill(pid, signal);
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter((found) => found !== '').map(Number);
    for (const found of children) process.kill(found, signal);
    if (signal === 'SIGCONT') process.kill(pid, signal);
  }

  async function stop(): Promise<void> {
    signalAll('SIGCONT');
    // Immediate shutdown waits for no client; a fast one would, behind a frozen one.
    child?.kill('SIGQUIT');
    await ended;
  }

  for (let attempt = 1; ; attempt += 1) {
    port = await freePort();
    if (await start()) break;
    // Another process may have taken the port meanwhile.
    if (attempt === ATTEMPTS_AT_A_PORT || !log.includes('could not bind')) throw new Error(`PostgreSQL did not start: ${log}`);
  }

  let databases = 0;
  return {
    host: '127.0.0.1', port, socketFolder: folder, dataFolder, sql,
    log: () => log,
    target: (database) => ({ host: folder, port, tls: null, user: SUPERUSER, database, password: null }),
    set: async (name, value) => {
      await sql(`ALTER SYSTEM SET ${name} = '${value}'`);
      await sql('SELECT pg_reload_conf()');
      await waitFor(`${name} ${value}`, async () => await sql(`SHOW ${name}`) === value);
    },
    createDatabase: async () => {
      databases += 1;
      const name = `test_${databases}`;
      await sql(`CREATE DATABASE ${name}`);
      return name;
    },
    freeze: () => signalAll('SIGSTOP'),
    thaw: () => signalAll('SIGCONT'),
    kill: async () => {
      child?.kill('SIGKILL');
      await ended;
    },
    restart: async () => {
      signalAll('SIGCONT');
      child?.kill('SIGINT');
      await ended;
      if (!await start()) throw new Error(`PostgreSQL did not start again: ${log}`);
    },
  };
}
