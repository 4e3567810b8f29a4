import { setTimeout as delay } from 'node:timers/promises';
import { StartRefused, type UnavailableReason } from '../../errors.ts';
import type { LogFields, LogLevel } from '../../observe/log.ts';
import type { ReadClass } from '../reads.ts';
import type { Connection, Target } from './connection.ts';
import { ConnectionFailed, isRefusedLogin, PostgresError } from './failures.ts';
import { connectAgain, connectToPrimary, type Primary } from './primary.ts';
import { reasonOf } from './reasons.ts';
import { openTables, type Tables } from './tables.ts';

/** All sessions of this receiver: each on the same server, and each for one thing at a time. */
export interface Sessions {
  readonly primary: Primary;
  readonly tables: Tables;
  readonly writer: Connection;
  readonly readers: Readonly<Record<ReadClass, Connection>>;
  /** Hears of what is stored. */
  readonly watcher: Connection;
  readonly remover: Connection;
  /** For what no message waits for. */
  readonly upkeep: Connection;
}

export interface SessionKeeper {
  /** Undefined while there is no server that takes writes, or none that is known yet. */
  current(): Sessions | undefined;
  /** Why there are none. */
  reason(): UnavailableReason;
  /** Resolves when there are some, or could be none at the first try. Rejects with StartRefused where something has to be changed first. */
  readonly firstTried: Promise<void>;
  close(): Promise<void>;
}

export interface KeeperOptions {
  /** The servers, with the credentials of this moment. */
  readonly targets: () => readonly Target[];
  /** Throws StartRefused where a server must not be used. */
  readonly check: (primary: Primary) => void;
  /** Called at each NOTIFY. */
  readonly notified: () => void;
  /** Called when there are sessions, and with undefined when there are none any more. */
  readonly onChange: (sessions: Sessions | undefined) => void;
  readonly notice: (level: LogLevel, event: string, fields: LogFields) => void;
}

/** Between two tries, at first and at last. */
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 1000;

/**
 * Keeps sessions open on the server that takes writes. Where one of them is lost, all are given up: a server that is no longer the primary
 * may go on answering reads, with what is no longer so.
 */
export function keepSessions({ targets, check, notified, onChange, notice }: KeeperOptions): SessionKeeper {
  const first = Promise.withResolvers<void>();
  const ended = new AbortController();
  let sessions: Sessions | undefined;
  let reason: UnavailableReason = 'PostgreSQL does not answer';
  let told = '';
  let last: Primary | undefined;

  function tellFailure(error: unknown): void {
    reason = reasonOf(error);
    const problems = error instanceof StartRefused ? error.problems : [describe(error)];
    if (told !== problems.join('; ')) notice('ERROR', 'storage_unreachable', { reason, problems });
    told = problems.join('; ');
    if (error instanceof StartRefused) first.reject(error);
    else if (isRefusedLogin(error)) first.reject(new StartRefused([`DATABASE_URL: the login is refused: ${describe(error)}`]));
    else first.resolve();
  }

  /** Resolves once they are lost. */
  async function serve(opened: Sessions): Promise<void> {
    // Asked to close while they were opened.
    if (ended.signal.aborted) return closeAll(opened);
    sessions = opened;
    last = opened.primary;
    told = '';
    notice('INFO', 'storage_connected', fieldsOf(opened));
    onChange(opened);
    first.resolve();
    const lost = await Promise.race(connectionsOf(opened).map(({ closed }) => closed));
    sessions = undefined;
    reason = 'PostgreSQL does not answer';
    onChange(undefined);
    if (!ended.signal.aborted) notice('WARNING', 'storage_disconnected', { ...placeOf(opened), reason: lost.message });
    await closeAll(opened);
  }

  async function keep(): Promise<void> {
    for (let pauseMs = FIRST_PAUSE_MS; !ended.signal.aborted; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
      try {
        await serve(await openSessions({ targets, check, notified }, last));
        pauseMs = FIRST_PAUSE_MS / 2;
      } catch (error) {
        tellFailure(error);
        await delay(pauseMs, undefined, { signal: ended.signal }).catch(() => {});
      }
    }
  }
  const kept = keep();

  return {
    current: () => sessions,
    reason: () => reason,
    firstTried: first.promise,
    async close() {
      ended.abort();
      if (sessions !== undefined) await closeAll(sessions);
      await kept;
    },
  };
}

const connectionsOf = ({ writer, readers, remover, watcher, upkeep }: Sessions): Connection[] =>
  [writer, remover, watcher, upkeep, ...Object.values(readers)];

async function closeAll(sessions: Sessions): Promise<void> {
  await Promise.all(connectionsOf(sessions).map((connection) => connection.close()));
}

async function openSessions(
  { targets, check, notified }: Pick<KeeperOptions, 'targets' | 'check' | 'notified'>, last: Primary | undefined,
): Promise<Sessions> {
  const primary = await connectToPrimary(targets(), last);
  const opened = [primary.connection];
  const another = async (onNotification?: () => void) => {
    const connection = await connectAgain(primary, onNotification);
    opened.push(connection);
    return connection;
  };
  try {
    check(primary);
    const tables = await openTables(primary.connection, primary.origin);
    const [quick, long, stream, remover, watcher, upkeep] = await Promise.all(
      [another(), another(), another(), another(), another(notified), another()]);
    return { primary, tables, writer: primary.connection, readers: { quick, long, stream }, remover, watcher, upkeep };
  } catch (error) {
    await Promise.all(opened.map((connection) => connection.close()));
    throw error;
  }
}

const placeOf = ({ primary: { target: { host, port } } }: Sessions) => ({ host, port });

function fieldsOf(sessions: Sessions): LogFields {
  const { primary: { version, hasSynchronousStandby, isPooled }, tables } = sessions;
  return {
    ...placeOf(sessions), postgresql_version: version, generation: tables.generation,
    synchronous_standby: hasSynchronousStandby, pooled: isPooled, text_index: tables.hasTextIndex,
  };
}

/** The server's own words are shown of a login and of what makes no mention of a message. */
function describe(error: unknown): string {
  if (error instanceof PostgresError) return `${error.message}: ${error.serverMessage}`;
  if (error instanceof ConnectionFailed) return error.message;
  return error instanceof Error ? error.message : String(error);
}
