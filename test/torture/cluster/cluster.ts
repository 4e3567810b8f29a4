/** A highly available PostgreSQL on loopback: three nodes under Patroni, with synchronous replication, and one etcd. */
import { spawn } from 'node:child_process';
import { chownSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort } from '../../support/free-port.ts';
import { user } from '../../support/postgres.ts';
import { temporaryFolder, type Scope } from '../../support/temporary.ts';
import { waitFor } from '../../support/wait.ts';
import { createNode, LOOPBACK, type Node } from './node.ts';

const NODES = ['node1', 'node2', 'node3'];
const OWNER = 'inbox';
const PASSWORD = 'another password for tests only';
const LOOK_EVERY_MS = 250;
/** One streams as the synchronous standby, the other as one that may become it. */
const WHOLE = '2|1';

export interface Cluster {
  /** What a receiver has to be told to use it: all nodes, in an order of its own. */
  readonly env: Readonly<Record<string, string>>;
  /** Waits until there is a primary, other than `before` where that is given, and returns it. */
  primary(before?: Node): Promise<Node>;
  /** Waits until both other nodes follow the primary, one of them as the synchronous standby. */
  whole(): Promise<void>;
  /** Runs one statement in the receivers' database on the primary, and returns what comes: a line a row, columns separated by `|`. */
  sql(statement: string): Promise<string>;
}

/** Starts all of it, with an empty database, and ends it with its scope. */
export async function startCluster(scope: Scope): Promise<Cluster> {
  const folder = temporaryFolder(scope);
  if (user.uid !== undefined) chownSync(folder, user.uid, user.gid);
  const etcdPort = await startEtcd(scope, folder);
  const nodes = await Promise.all(NODES.map((name) => createNode(scope, name, folder, etcdPort)));
  for (const node of nodes) node.start();

  const lastLines = () => nodes.map((node) => `${node.name}:\n${node.log().split('\n').slice(-15).join('\n')}`).join('\n');
  const primary = (before?: Node) => waitFor(() => `a primary\n${lastLines()}`, async () => {
    const candidates = nodes.filter((node) => node !== before);
    const answers = await Promise.all(candidates.map((node) => node.isPrimary()));
    return candidates[answers.indexOf(true)];
  });
  const whole = async () => {
    await waitFor(() => `a whole cluster\n${lastLines()}`, async () => {
      const standbys = `SELECT count(*), count(*) FILTER (WHERE sync_state = 'sync') FROM pg_stat_replication WHERE state = 'streaming'`;
      await delay(LOOK_EVERY_MS);
      const isSynchronous = await Promise.all(nodes.map((node) => node.isSynchronous()));
      // What Patroni has not named as the synchronous standby, may not take over, whatever PostgreSQL replicates to.
      return isSynchronous.includes(true) && await (await primary()).sql([standbys]).catch(() => '') === WHOLE;
    });
  };

  await whole();
  await (await primary()).sql([`CREATE ROLE ${OWNER} LOGIN PASSWORD '${PASSWORD}'`, `CREATE DATABASE ${OWNER} OWNER ${OWNER}`]);
  const hosts = nodes.map(({ port }) => `${LOOPBACK}:${port}`).join();
  return {
    env: { DATABASE_URL: `postgresql://${OWNER}@${hosts}/${OWNER}?sslmode=disable`, DATABASE_PASSWORD: PASSWORD },
    primary, whole,
    sql: async (statement) => (await primary()).sql([statement], OWNER),
  };
}

async function startEtcd(scope: Scope, folder: string): Promise<number> {
  const [client, peer] = [await freePort(), await freePort()];
  const own = join(folder, 'etcd');
  mkdirSync(own, { mode: 0o700 });
  if (user.uid !== undefined) chownSync(own, user.uid, user.gid);
  const url = (port: number) => `http://${LOOPBACK}:${port}`;
  const child = spawn('etcd', [
    '--name', 'etcd', '--data-dir', own, '--enable-v2', '--unsafe-no-fsync', '--logger', 'zap', '--log-level', 'error',
    '--listen-client-urls', url(client), '--advertise-client-urls', url(client),
    '--listen-peer-urls', url(peer), '--initial-advertise-peer-urls', url(peer), '--initial-cluster', `etcd=${url(peer)}`,
  ], { ...user, cwd: own, detached: true, stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  child.stderr.on('data', (chunk) => { log += String(chunk); });
  const ended = new Promise((resolve) => child.on('close', resolve).on('error', resolve));
  scope.after(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  await waitFor(() => `etcd; its log: ${log}`, () => fetch(`${url(client)}/health`).then(({ ok }) => ok, () => false));
  return client;
}
