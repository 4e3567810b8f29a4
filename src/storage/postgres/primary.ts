/** Finding the server that takes writes, whichever of the configured ones that is today. */
import { setTimeout as delay } from 'node:timers/promises';
import { StartRefused } from '../../errors.ts';
import { connect, type Connection, type ConnectOptions, type Target } from './connection.ts';
import { ConnectionFailed, LoginRefused, NotPrimary, PostgresError } from './failures.ts';
import { KEEP_SESSION, LOOK_AT_SERVER } from './sql.ts';

/** Longest time until a server has let us in; and then until it has told what it is. */
const CONNECT_TIMEOUT_MS = 1500;
const LOOK_TIMEOUT_MS = 1000;
/** Once one that takes writes has answered: longer than any server takes that is not in trouble. */
const WAIT_FOR_OTHERS_MS = 300;
const OLDEST_VERSION_NUMBER = 140_000;

/** A server that takes writes, and one session on it. */
export interface Primary {
  readonly connection: Connection;
  readonly target: Target;
  readonly version: string;
  /** What of its data's history this is, the system and its timeline: another one after a promotion or a restore. */
  readonly origin: string;
  /** Whether a commit waits for another server. */
  readonly hasSynchronousStandby: boolean;
  /** Whether what is between does not keep a session for one client, as LISTEN wants it. */
  readonly isPooled: boolean;
}

/**
 * Asks all servers at once, and resolves with the one that takes writes; of several, the one that was promoted last. `last` is where
 * messages were stored before: a server that it has replaced is not gone back to. Rejects with StartRefused where one has to be changed
 * before it can be used, with LoginRefused or PostgresError where it refuses the login, otherwise with NotPrimary or ConnectionFailed;
 * nothing stays open then.
 */
export async function connectToPrimary(targets: readonly Target[], last?: Primary): Promise<Primary> {
  const found: Primary[] = [];
  const attempts = targets.map(async (target) => {
    const primary = await connectToWritable(target);
    if (last !== undefined && isReplacedBy(primary, last)) {
      await primary.connection.close();
      throw new NotPrimary('the server that takes writes is of before the last failover: stop it, or, where it was restored, start anew');
    }
    found.push(primary);
    return primary;
  });
  try {
    await Promise.any(attempts);
  } catch (error) {
    throw error instanceof AggregateError ? mostTelling(error.errors) : error;
  }
  // One that was frozen may not know yet that it was replaced.
  await Promise.race([Promise.allSettled(attempts), delay(WAIT_FOR_OTHERS_MS, undefined, { ref: false })]);
  const chosen = found.reduce((one, other) => (isReplacedBy(one, other) ? other : one));
  for (const attempt of attempts) attempt.then((other) => (other === chosen ? undefined : other.connection.close()), () => {});
  return chosen;
}

/** Whether both have the same history up to a promotion that only the second has seen. */
function isReplacedBy({ origin: one }: Primary, { origin: other }: Primary): boolean {
  const [[system, timeline = ''], [otherSystem, otherTimeline = '']] = [one.split('/'), other.split('/')];
  return system === otherSystem && timeline < otherTimeline;
}

/** What somebody has to change first says more than that a server does not answer, which another one may make good. */
function mostTelling(errors: readonly unknown[]): Error {
  const found = errors.filter((error) => error instanceof Error);
  return found.find((error) => error instanceof StartRefused)
    ?? found.find((error) => error instanceof LoginRefused || error instanceof PostgresError)
    ?? found.find((error) => error instanceof NotPrimary) ?? found[0] ?? new ConnectionFailed('no server answers');
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
    if (server['read_only'] !== 'off') throw new NotPrimary('the server takes no writes');
    const problems = problemsOf(server);
    if (problems.length > 0) throw new StartRefused(problems.map((problem) => `DATABASE_URL: ${target.host} ${problem}`));
    const isPooled = Number(server['process_id']) !== connection.processId;
    if (!isPooled) await connection.run([KEEP_SESSION], LOOK_TIMEOUT_MS);
    return {
      connection, target, isPooled,
      version: server['version'] ?? '',
      origin: server['origin'] ?? '',
      hasSynchronousStandby: (server['synchronous_standbys'] ?? '') !== '',
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
