/** Finding the server that takes writes, whichever of the configured ones that is today. */
import { StartRefused } from '../../errors.ts';
import { connect, type Connection, type ConnectOptions, type Target } from './connection.ts';
import { ConnectionFailed, LoginRefused, PostgresError } from './failures.ts';
import { LOOK_AT_SERVER } from './sql.ts';

/** Longest time until a server has let us in; and then until it has told what it is. */
const CONNECT_TIMEOUT_MS = 1500;
const LOOK_TIMEOUT_MS = 1000;
const OLDEST_VERSION_NUMBER = 140_000;

/** A server that takes writes, and one session on it. */
export interface Primary {
  readonly connection: Connection;
  readonly target: Target;
  readonly version: string;
  /** What of its data's history this is: another one after a promotion or a restore. */
  readonly origin: string;
  /** Whether a commit waits for another server. */
  readonly hasSynchronousStandby: boolean;
  /** Whether what is between does not keep a session for one client, as LISTEN wants it. */
  readonly isPooled: boolean;
}

/** It is there, and takes no writes. */
class ReadOnly extends Error {
  override readonly name = 'ReadOnly';
}

/**
 * Asks all servers at once, and resolves with the first that takes writes. Rejects with StartRefused where one has to be changed before it
 * can be used, with LoginRefused or PostgresError where it refuses the login, otherwise with ConnectionFailed; nothing stays open then.
 */
export async function connectToPrimary(targets: readonly Target[]): Promise<Primary> {
  const attempts = targets.map((target) => connectToWritable(target));
  try {
    const found = await Promise.any(attempts);
    // Only where two take writes: the other one is not asked again.
    for (const attempt of attempts) attempt.then((other) => (other === found ? undefined : other.connection.close()), () => {});
    return found;
  } catch (error) {
    throw error instanceof AggregateError ? mostTelling(error.errors) : error;
  }
}

/** What somebody has to change first says more than that a server does not answer, which another one may make good. */
function mostTelling(errors: readonly unknown[]): Error {
  const found = errors.filter((error) => error instanceof Error);
  return found.find((error) => error instanceof StartRefused)
    ?? found.find((error) => error instanceof LoginRefused || error instanceof PostgresError)
    ?? found.find((error) => error instanceof ReadOnly) ?? found[0] ?? new ConnectionFailed('no server answers');
}

/** The same server again, for another session. Rejects as `connectToPrimary` does. */
export async function connectAgain({ target }: Primary, notified: ConnectOptions['notified'] = () => {}): Promise<Connection> {
  const { connection } = await connectToWritable(target, notified);
  return connection;
}

async function connectToWritable(target: Target, notified: ConnectOptions['notified'] = () => {}): Promise<Primary> {
  const connection = await connect(target, { timeoutMs: CONNECT_TIMEOUT_MS, notified });
  try {
    const { results } = await connection.run([LOOK_AT_SERVER], LOOK_TIMEOUT_MS);
    const server = results[0]?.rows[0] ?? {};
    if (server['read_only'] !== 'off') throw new ReadOnly('the server takes no writes');
    const problems = problemsOf(server);
    if (problems.length > 0) throw new StartRefused(problems.map((problem) => `DATABASE_URL: ${target.host} ${problem}`));
    return {
      connection, target,
      version: server['version'] ?? '',
      origin: server['origin'] ?? '',
      hasSynchronousStandby: (server['synchronous_standbys'] ?? '') !== '',
      isPooled: Number(server['process_id']) !== connection.processId,
    };
  } catch (error) {
    await connection.close();
    throw error;
  }
}

/** Why a server must not be used, with what to change. */
function problemsOf(server: Readonly<Record<string, string | null>>): string[] {
  const isOff = (setting: string) => server[setting] !== 'on';
  return [
    ...(Number(server['version_number']) < OLDEST_VERSION_NUMBER ? ['is older than PostgreSQL 14: upgrade it'] : []),
    ...(server['encoding'] === 'UTF8' ? [] : ['has a database that is not encoded in UTF8: create it anew with ENCODING UTF8']),
    ...(isOff('fsync') ? ['runs with fsync off, so that a commit is not on disk: turn it on'] : []),
    ...(isOff('full_page_writes') ? ['runs with full_page_writes off, so that a power cut can damage it: turn it on'] : []),
  ];
}
