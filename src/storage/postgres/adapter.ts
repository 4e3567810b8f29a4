/**
 * Many receivers in front of one PostgreSQL (14 or newer), each without state: a few sessions on the server that takes writes, whichever
 * of the configured ones that is. Loaded only where it is used.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { StartRefused, StorageUnavailable } from '../../errors.ts';
import type { Message } from '../../message.ts';
import { commitInTime } from '../commit-deadline.ts';
import { createGroupCommit, QUEUE_CAPACITY } from '../group-commit.ts';
import { createReads, startReaders } from '../reads.ts';
import type { AppendOutcome, Engine, Storage, StorageOptions } from '../storage.ts';
import type { Target } from './connection.ts';
import { createReader } from './reader.ts';
import { createRemover } from './remover.ts';
import { keepSessions, type Sessions } from './sessions.ts';
import { startUpkeep } from './upkeep.ts';
import { startWatcher } from './watcher.ts';
import { createWriter, type Writer } from './writer.ts';

export interface PostgresStorageOptions extends StorageOptions {
  /** The servers, with the credentials of this moment. */
  readonly targets: () => readonly Target[];
  /** Whether commits may be heard of by NOTIFY; where a pooler is in between that is found to keep no session, they are not in any case. */
  readonly mayListen: boolean;
  /** Whether a server without a synchronous standby is refused. */
  readonly requiresStandby: boolean;
}

/** How long the start waits for a server. Without one by then, it goes on, and is not ready. */
const START_PATIENCE_MS = 900;
/** Below the id of every message. */
const BEFORE_ALL = '0';
const NO_STANDBY = 'no synchronous standby is configured (synchronous_standby_names): a message is on one machine when it is acknowledged';

/** Resolves once a server is connected, or could not be. Throws StartRefused where somebody has to change something first. */
export async function openPostgresStorage(options: PostgresStorageOptions): Promise<Storage> {
  const { queryTimeoutMs, now, retention, observer } = options;
  const link = await openLink(options);
  const readers = await startReaders(queryTimeoutMs, (readClass, nextJob) =>
    createReader(nextJob, () => link.connected().readers[readClass], link.isConnected));
  const writer = createWriter({
    session() {
      const { writer: connection, primary: { isPooled } } = link.connected();
      return { connection, isPooled };
    },
    now, observer,
  });
  const commit: Writer['commit'] = async (messages) => {
    const outcomes = await writer.commit(messages);
    if (outcomes.includes('stored')) link.noteStored();
    return outcomes;
  };
  const remover = createRemover({ connection: () => link.connected().remover, isConnected: link.isConnected, now, retention, observer });
  const groupCommit = createGroupCommit<Message, AppendOutcome>({ capacity: QUEUE_CAPACITY, commit: commitInTime(commit) });

  return {
    append: groupCommit.add,
    erase: remover.erase,
    hasRoom: groupCommit.hasRoom,
    ...createReads(readers.ask, BEFORE_ALL),
    async probe() {
      link.connected();
      await writer.probe();
    },
    async sizes() {
      return { databaseBytes: await link.databaseBytes(), walBytes: undefined, indexBytes: undefined, freeDiskBytes: undefined };
    },
    queueDepth: groupCommit.depth,
    readsWaiting: readers.waiting,
    indexLag: () => 0,
    lastStoredAt: link.lastStoredAt,
    degraded: () => [],
    engine: link.engine,
    get generation() {
      return link.generation();
    },
    // Whatever happens to a server, another one may come.
    failure: new Promise(() => {}),
    async close() {
      await groupCommit.close();
      await readers.close();
      await remover.close();
      await link.close();
    },
  };
}

/** The sessions of now, and what is known of their server. */
async function openLink({ targets, mayListen, requiresStandby, now, observer }: PostgresStorageOptions) {
  let work: ReturnType<typeof startWork> | undefined;
  let last: Sessions | undefined;
  let lastStoredAt: number | undefined;

  const noteStored = () => {
    lastStoredAt = now();
    work?.upkeep.stored();
  };
  const arrived = () => {
    noteStored();
    observer.arrived();
  };
  const keeper = keepSessions({
    targets, notified: arrived, notice: observer.notice,
    check({ hasSynchronousStandby }) {
      if (requiresStandby && !hasSynchronousStandby) throw new StartRefused([`REQUIRE_HARDENED: DATABASE_URL: ${NO_STANDBY}`]);
    },
    onChange(sessions) {
      work?.stop();
      work = undefined;
      if (sessions === undefined) return;
      const { primary, tables } = sessions;
      if (last !== undefined && last.primary.origin !== primary.origin) observer.failedOver();
      lastStoredAt = tables.lastStoredAt ?? lastStoredAt;
      work = startWork(sessions, mayListen, arrived);
      for (const warning of warningsOf(sessions)) observer.notice('WARNING', 'config_warning', { warning: `DATABASE_URL: ${warning}` });
      last = sessions;
    },
  });
  try {
    await Promise.race([keeper.firstTried, delay(START_PATIENCE_MS, undefined, { ref: false })]);
  } catch (error) {
    await keeper.close();
    throw error;
  }
  const isConnected = () => keeper.current() !== undefined;
  return {
    isConnected,
    /** Throws StorageUnavailable where there are none. */
    connected(): Sessions {
      const sessions = keeper.current();
      if (sessions === undefined) throw new StorageUnavailable(keeper.reason());
      return sessions;
    },
    noteStored,
    lastStoredAt: () => lastStoredAt,
    databaseBytes: async () => await work?.upkeep.databaseBytes(),
    generation: () => last?.tables.generation ?? '',
    engine: (): Engine => ({
      name: 'postgresql', version: last?.primary.version, host: last?.primary.target.host, isConnected: isConnected(),
    }),
    close: keeper.close,
  };
}

/** What goes on beside the messages for as long as these sessions last. */
function startWork({ primary, tables, watcher, upkeep: connection }: Sessions, mayListen: boolean, arrived: () => void) {
  const stopWatching = startWatcher(watcher, mayListen && !primary.isPooled, arrived);
  const upkeep = startUpkeep(connection, tables.hasTextIndex);
  return {
    upkeep,
    stop(): void {
      stopWatching();
      upkeep.stop();
    },
  };
}

function warningsOf({ primary, tables }: Sessions): string[] {
  return [
    ...(primary.hasSynchronousStandby ? [] : [NO_STANDBY]),
    ...(tables.hasTextIndex ? [] : ['pg_trgm and the index messages_by_text are not there: a search looks at every text']),
    ...(primary.isPooled ? ['a pooler is in between: messages that other receivers store are looked for once a second'] : []),
  ];
}
