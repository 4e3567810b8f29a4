/** A pooler in front of a PostgreSQL server: whatever a session keeps does not outlive its transaction there. */
import { spawn, spawnSync } from 'node:child_process';
import { chownSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { freePort } from './free-port.ts';
import { user } from './postgres.ts';
import { temporaryFolder, type Scope } from './temporary.ts';
import { waitFor } from './wait.ts';

/** False where pgbouncer is not installed. */
export const hasPgbouncer = spawnSync('pgbouncer', ['--version']).status === 0;

export interface PgbouncerOptions {
  /** The server behind it, on loopback. */
  readonly port: number;
  /** Who may log in, by SCRAM-SHA-256, and is logged in as on the server: by name, with the password. */
  readonly passwords: Readonly<Record<string, string>>;
  /** Of the section [pgbouncer], beside or instead of those below. */
  readonly settings?: Readonly<Record<string, string>>;
}

const quoted = (text: string) => `"${text.replaceAll('"', '""')}"`;

/** Starts it in transaction mode on a free loopback port, which it returns, for every database of the server; ends it with its scope. */
export async function startPgbouncer(scope: Scope, { port: serverPort, passwords, settings = {} }: PgbouncerOptions): Promise<number> {
  const folder = temporaryFolder(scope);
  const port = await freePort();
  const [configFile, passwordFile] = [join(folder, 'pgbouncer.ini'), join(folder, 'users.txt')];
  const lines = {
    listen_addr: '127.0.0.1', listen_port: String(port), unix_socket_dir: '', pool_mode: 'transaction',
    auth_type: 'scram-sha-256', auth_file: passwordFile, ...settings,
  };
  const users = Object.entries(passwords).map(([name, password]) => `${quoted(name)} ${quoted(password)}\n`);
  writeFileSync(passwordFile, users.join(''), { mode: 0o600 });
  const pooler = Object.entries(lines).map(([name, value]) => `${name} = ${value}\n`);
  writeFileSync(configFile, `[databases]\n* = host=127.0.0.1 port=${serverPort}\n[pgbouncer]\n${pooler.join('')}`);
  if (user.uid !== undefined) for (const path of [folder, configFile, passwordFile]) chownSync(path, user.uid, user.gid);
  const child = spawn('pgbouncer', [configFile], { ...user, cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  child.stderr.on('data', (chunk) => { log += String(chunk); });
  const ended = new Promise((resolve) => child.on('close', resolve).on('error', resolve));
  scope.after(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  await waitFor(() => `pgbouncer; its log: ${log}`, () => {
    if (child.exitCode !== null) throw new Error(`pgbouncer did not start: ${log}`);
    return accepts(port);
  });
  return port;
}

const accepts = (port: number) => new Promise<boolean>((resolve) => {
  const socket = connect(port, '127.0.0.1', () => {
    socket.destroy();
    resolve(true);
  }).on('error', () => resolve(false));
});
