import type { Connection } from './connection.ts';
import { PostgresError } from './failures.ts';
import { CLEAN_TEXT_INDEX, READ_SIZE } from './sql.ts';

/** Seldom, each time is long enough to be felt by who stores; often, they are many. */
const CLEAN_EVERY_MS = 150;
/** Behind a burst that is a second or two; the session is of no other use meanwhile. */
const TIMEOUT_MS = 30_000;

/** What no message waits for. */
export interface Upkeep {
  /** Tells that something was stored. */
  stored(): void;
  /** Of the database, in bytes; undefined where it could not be had. */
  databaseBytes(): Promise<number | undefined>;
  stop(): void;
}

/**
 * Puts into the text index what was stored since, in a session that does nothing else. The server would do that too, later, and while
 * somebody stores. A user who does not own the index may not: then it is left to the server.
 */
export function startUpkeep(connection: Connection, hasTextIndex: boolean): Upkeep {
  let isDue = true;
  let mayClean = hasTextIndex;
  let last: Promise<unknown> = Promise.resolve();

  /** A session does one thing at a time. Where it is lost, that is seen elsewhere. */
  function ask(statement: typeof READ_SIZE) {
    const asked = last.then(async () => (await connection.run([statement], TIMEOUT_MS)).results[0]?.rows[0]);
    last = asked.catch(() => {});
    return asked;
  }
  async function clean(): Promise<void> {
    if (!isDue || !mayClean) return;
    isDue = false;
    try {
      await ask(CLEAN_TEXT_INDEX);
    } catch (error) {
      mayClean = !(error instanceof PostgresError);
    }
  }

  const timer = setInterval(() => void clean(), CLEAN_EVERY_MS);
  return {
    stored() {
      isDue = true;
    },
    databaseBytes: () => ask(READ_SIZE).then((row) => (row === undefined ? undefined : Number(row['bytes'])), () => undefined),
    stop: () => clearInterval(timer),
  };
}
