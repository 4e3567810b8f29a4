import type { Connection } from './connection.ts';
import { LISTEN, READ_NEWEST, READ_SIZE } from './sql.ts';

/** How often it is looked where nothing tells. */
const LOOK_EVERY_MS = 1000;
const LOOK_TIMEOUT_MS = 2000;

export interface Watcher {
  /** Of the database, in bytes; undefined where it could not be had. */
  size(): Promise<number | undefined>;
  stop(): void;
}

/**
 * Hears of what any receiver stores, in a session that does nothing else: by NOTIFY where `listens`, otherwise by looking once a second,
 * and calls `arrived` then.
 */
export function startWatcher(connection: Connection, listens: boolean, arrived: () => void): Watcher {
  let timer: NodeJS.Timeout | undefined;
  let last: Promise<unknown> = Promise.resolve();
  let newest: string | null | undefined;

  /** A session does one thing at a time. Where it is lost, that is seen elsewhere. */
  function ask(statement: typeof LISTEN) {
    const asked = last.then(async () => (await connection.run([statement], LOOK_TIMEOUT_MS)).results[0]?.rows[0]).catch(() => undefined);
    last = asked;
    return asked;
  }
  async function look(): Promise<void> {
    const row = await ask(READ_NEWEST);
    if (row !== undefined && newest !== undefined && row['newest'] !== newest) arrived();
    newest = row?.['newest'] ?? newest;
  }

  if (listens) void ask(LISTEN).then(arrived);
  else timer = setInterval(() => void look(), LOOK_EVERY_MS);
  return {
    async size() {
      const row = await ask(READ_SIZE);
      return row === undefined ? undefined : Number(row['bytes']);
    },
    stop: () => clearInterval(timer),
  };
}
