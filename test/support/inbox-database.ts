/** The PostgreSQL of `scripts/postgres/`, with its credentials, certificate, role and rules, as a process of this machine. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { binaries, startPostgres, SUPERUSER, type Postgres } from './postgres.ts';
import { CHECKOUT } from './server-process.ts';
import { temporaryFolder, type Scope } from './temporary.ts';

const FOLDER = join(CHECKOUT, 'scripts/postgres');
const shipped = (name: string) => readFileSync(join(FOLDER, name), 'utf8');

/** Makes what the two sides show each other, and returns its folder: the server is `localhost`. */
export function makeCredentials(scope: Scope): string {
  const folder = temporaryFolder(scope);
  execFileSync(join(FOLDER, 'make-credentials'), [folder, 'localhost']);
  return folder;
}

/** Starts a server with what `makeCredentials` has made, and the database and the role `inbox`. */
export async function startInboxDatabase(scope: Scope, credentials: string): Promise<Postgres> {
  const files = { 'server.pem': join(credentials, 'database/server.pem'), 'server.key': join(credentials, 'database/server.key') };
  const postgres = await startPostgres(scope, {
    files, settings: { ssl: 'on', ssl_cert_file: 'server.pem', ssl_key_file: 'server.key' },
    // Its rule for the socket is of a container's user.
    hba: [...shipped('pg_hba.conf').split('\n').filter((line) => line.startsWith('host')), 'host all all all reject'],
  });
  const script = join(credentials, 'init.sql');
  writeFileSync(script, shipped('init.sql').replace('/run/secrets', join(credentials, 'database')));
  const { socketFolder, port } = postgres;
  execFileSync(join(binaries ?? '', 'psql'), ['--no-psqlrc', '--quiet', '--host', socketFolder, '--port', String(port), '--username', SUPERUSER, '--file', script]);
  return postgres;
}
