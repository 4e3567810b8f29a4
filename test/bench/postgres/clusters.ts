/** The throw-away PostgreSQL servers of the benchmark, set up as an operator would have them. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { binaries, type Postgres, startPostgres, startStandby, SUPERUSER, waitForStandby } from '../../support/postgres.ts';
import type { Scope } from '../../support/temporary.ts';
import { waitFor } from '../../support/wait.ts';

/** All others, those of checkpoints and `fsync` among them, as by default. */
const SETTINGS = { shared_buffers: '256MB', max_wal_size: '4GB', maintenance_work_mem: '512MB', max_connections: '100' };

/** How each is called in the table. */
export const NAMES = { local: 'PostgreSQL', replicated: 'PostgreSQL with a standby' };
export type Kind = keyof typeof NAMES;

export interface Database {
  /** A DATABASE_URL. */
  readonly url: string;
  readonly name: string;
  /** Runs SQL in it as the superuser: a line a row, columns separated by `|`. */
  sql(sql: string): Promise<string>;
}

/** One server, or one with a synchronous standby. */
export interface Cluster {
  readonly kind: Kind;
  readonly server: Postgres;
  /** An empty database for the caller alone. Nothing of it is left to be written when its scope has ended. */
  provideDatabase(scope: Scope): Promise<Database>;
}

export async function startCluster(scope: Scope, kind: Kind): Promise<Cluster> {
  const server = await startPostgres(scope, { settings: SETTINGS });
  if (kind === 'replicated') {
    await startStandby(scope, server);
    await waitForStandby(server, { isSynchronous: true });
  }
  const hasReplayed = async () =>
    await server.sql('SELECT bool_and(replay_lsn >= pg_current_wal_flush_lsn()) IS NOT FALSE FROM pg_stat_replication') === 't';
  return {
    kind, server,
    async provideDatabase(databaseScope) {
      const name = await server.createDatabase();
      databaseScope.after(async () => {
        // It ends with a checkpoint: no later one writes in the middle of what is measured next.
        await server.sql(`DROP DATABASE ${name} WITH (FORCE)`);
        await waitFor('the standby to be done', hasReplayed);
      });
      return { name, url: `postgresql://${SUPERUSER}@${server.host}:${server.port}/${name}`, sql: (sql) => server.sql(sql, name) };
    },
  };
}

/** Throws where PostgreSQL is not installed. */
export const postgresVersion = (): string => execFileSync(join(binaries ?? '', 'postgres'), ['--version'], { encoding: 'utf8' }).trim();
