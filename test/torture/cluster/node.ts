/** One node of the cluster: PostgreSQL under a Patroni of its own, and all that can befall it. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { chownSync, mkdirSync, openSync, closeSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { freePort } from '../../support/free-port.ts';
import { binaries, SUPERUSER, user } from '../../support/postgres.ts';
import { startProxy } from '../../support/proxy.ts';
import type { Scope } from '../../support/temporary.ts';

export const LOOPBACK = '127.0.0.1';
const PASSWORD = 'a password for tests only';
const SQL_LIMITS = { timeout: 10_000, maxBuffer: 256 * 1024 * 1024 };
const ASK_TIMEOUT_MS = 1000;

/**
 * As Patroni decides on a failover when the leader's key has expired, that is as short as its loop and two tries of etcd allow. From
 * version 3.1 on it takes no less than 20 s, and sets itself to that.
 */
const TIMES = { loop_wait: 1, retry_timeout: 3, ttl: 8 };

/** What Patroni keeps in etcd for all nodes. */
const SHARED_CONFIGURATION = {
  ...TIMES, synchronous_mode: true, synchronous_mode_strict: true, maximum_lag_on_failover: 1_048_576,
  postgresql: {
    use_pg_rewind: true,
    parameters: {
      max_connections: 60, shared_buffers: '32MB', dynamic_shared_memory_type: 'mmap', wal_keep_size: '256MB',
      wal_sender_timeout: '5s', wal_receiver_timeout: '5s', wal_receiver_status_interval: '1s',
      // A new primary takes no write before a standby has found it, which by default looks every 5 s.
      wal_retrieve_retry_interval: '500ms',
    },
  },
};

export interface Node {
  readonly name: string;
  /** Of its PostgreSQL, for everybody else: what comes this way can be cut off. */
  readonly port: number;
  /** Starts its Patroni, which starts PostgreSQL. */
  start(): void;
  /** Ends all its processes by SIGKILL. */
  kill(): Promise<void>;
  /** Stops all its processes by SIGSTOP: sockets stay open, and nobody answers. */
  freeze(): void;
  thaw(): void;
  /** Cuts PostgreSQL and Patroni off from all that come to them, and Patroni from etcd. Nobody is told. */
  cutOff(): void;
  reconnect(): void;
  /** Whether its Patroni answers that it holds the leader's key and that its PostgreSQL is the primary. */
  isPrimary(): Promise<boolean>;
  /** Whether its Patroni answers that it is the synchronous standby, which takes over where the primary fails. */
  isSynchronous(): Promise<boolean>;
  /** Asks its Patroni to hand over to a synchronous standby. */
  handOver(): Promise<void>;
  /** Runs statements as the superuser, past what can be cut off, and returns what comes: a line a row, columns separated by `|`. */
  sql(statements: readonly string[], database?: string): Promise<string>;
  /** What its processes have written. */
  log(): string;
}

interface Ports {
  readonly own: number;
  readonly proxied: number;
}

async function proxiedPort(scope: Scope, own: number): Promise<Ports & Awaited<ReturnType<typeof startProxy>>> {
  const proxied = await freePort();
  return { own, proxied, ...await startProxy(scope, proxied, own) };
}

/** As JSON, which is YAML. */
function configuration(name: string, folder: string, postgres: Ports, api: Ports, etcd: Ports): string {
  const login = (username: string) => ({ username, password: PASSWORD });
  return JSON.stringify({
    scope: 'webhook-inbox', name,
    restapi: { listen: `${LOOPBACK}:${api.own}`, connect_address: `${LOOPBACK}:${api.proxied}` },
    // As a proxy, or else it would go on with the address that etcd tells it, past what can be cut off. By version 2 of etcd's interface, as
    // Patroni before 3.0.3 overwrites its successor's key by version 3 once it is thawed (its pull request 2689), which loses messages.
    etcd: { proxy: `http://${LOOPBACK}:${etcd.proxied}` },
    bootstrap: { dcs: SHARED_CONFIGURATION, initdb: [{ encoding: 'UTF8' }, { locale: 'C.UTF-8' }, 'no-sync'] },
    postgresql: {
      listen: `${LOOPBACK}:${postgres.own}`, connect_address: `${LOOPBACK}:${postgres.proxied}`,
      data_dir: join(folder, 'data'), bin_dir: binaries, pgpass: join(folder, 'pgpass'),
      authentication: { superuser: login(SUPERUSER), replication: login('replicator'), rewind: login('rewinder') },
      parameters: { unix_socket_directories: folder },
      pg_hba: ['local all all trust', ...['all', 'replication'].map((database) => `host ${database} all ${LOOPBACK}/32 scram-sha-256`)],
      basebackup: ['no-sync', { checkpoint: 'fast' }],
      remove_data_directory_on_rewind_failure: true, remove_data_directory_on_diverged_timelines: true,
    },
    watchdog: { mode: 'off' },
  });
}

/** Of the server and its children, the server first; none where it does not run. */
function serverProcesses(dataFolder: string): number[] {
  try {
    const pid = Number(readFileSync(join(dataFolder, 'postmaster.pid'), 'utf8').split('\n')[0]);
    // The file outlives a server that was killed, and its number may be another's by now.
    if (!readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(dataFolder)) return [];
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter((found) => found !== '').map(Number);
    return [pid, ...children];
  } catch {
    return [];
  }
}

function signalIfThere(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has just ended.
  }
}

/** Makes a node, its folder in `folder`, and ends it with its scope, whatever has befallen it. Nothing runs before it is started. */
export async function createNode(scope: Scope, name: string, folder: string, etcdPort: number): Promise<Node> {
  const own = join(folder, name);
  mkdirSync(own, { mode: 0o700 });
  const postgres = await proxiedPort(scope, await freePort());
  const api = await proxiedPort(scope, await freePort());
  const etcd = await proxiedPort(scope, etcdPort);
  const [configFile, logFile, dataFolder] = [join(own, 'patroni.yml'), join(own, 'log'), join(own, 'data')];
  writeFileSync(configFile, configuration(name, own, postgres, api, etcd), { mode: 0o600 });
  writeFileSync(logFile, '');
  if (user.uid !== undefined) for (const path of [own, configFile]) chownSync(path, user.uid, user.gid);
  let patroni: ChildProcess | undefined;
  let ended: Promise<unknown> = Promise.resolve();

  function signalAll(signal: NodeJS.Signals): void {
    // Its group: what it has started to rewind or to copy a server, too.
    const leader = patroni?.pid === undefined || patroni.exitCode !== null || patroni.signalCode !== null ? [] : [-patroni.pid];
    const all = [...leader, ...serverProcesses(dataFolder)];
    // The server last where they go on, so that it does not miss the end of one.
    for (const pid of signal === 'SIGCONT' ? all.toReversed() : all) signalIfThere(pid, signal);
  }

  const kill = async () => {
    signalAll('SIGKILL');
    await ended;
    // Patroni may have been about to start a server.
    signalAll('SIGKILL');
  };
  scope.after(kill);
  const ask = (path: string, init?: RequestInit) => fetch(`http://${LOOPBACK}:${api.own}${path}`, init);
  /** What its PostgreSQL is, where Patroni says yes to this path; undefined where it says no, or nothing. */
  const roleAt = async (path: string) => {
    try {
      const answer = await ask(path, { signal: AbortSignal.timeout(ASK_TIMEOUT_MS) });
      const { role }: { role?: string } = JSON.parse(await answer.text());
      return answer.ok ? role : undefined;
    } catch {
      return undefined;
    }
  };

  return {
    name, port: postgres.proxied, kill,
    start() {
      const log = openSync(logFile, 'a');
      const started = spawn('patroni', [configFile], { ...user, cwd: own, detached: true, stdio: ['ignore', log, log] });
      closeSync(log);
      patroni = started;
      ended = new Promise((resolve) => started.on('close', resolve).on('error', resolve));
    },
    freeze: () => signalAll('SIGSTOP'),
    thaw: () => signalAll('SIGCONT'),
    cutOff: () => [postgres, api, etcd].forEach((way) => way.cut()),
    reconnect: () => [postgres, api, etcd].forEach((way) => way.heal()),
    // It says so from the moment that it holds the key: until it is promoted its PostgreSQL is a replica.
    isPrimary: async () => (await roleAt('/primary') ?? 'replica') !== 'replica',
    isSynchronous: async () => await roleAt('/synchronous') !== undefined,
    async handOver() {
      const answer = await ask('/switchover', { method: 'POST', body: JSON.stringify({ leader: name }) });
      if (!answer.ok) throw new Error(`Patroni does not hand over: ${answer.status} ${await answer.text()}`);
    },
    async sql(statements, database = SUPERUSER) {
      const args = [
        '--no-psqlrc', '--no-align', '--tuples-only', '--quiet', '--set', 'ON_ERROR_STOP=1',
        '--host', own, '--port', String(postgres.own), '--username', SUPERUSER, '--dbname', database,
      ];
      const commands = statements.flatMap((statement) => ['--command', statement]);
      const { stdout } = await promisify(execFile)(join(binaries ?? '', 'psql'), [...args, ...commands], SQL_LIMITS);
      return stdout.trim();
    },
    log: () => readFileSync(logFile, 'utf8'),
  };
}
