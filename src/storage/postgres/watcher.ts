import type { Connection } from './connection.ts';
import { LISTEN, READ_NEWEST } from './sql.ts';

/** How often it is looked where nothing tells; and where something does, as a peer that has vanished is found only by asking. */
const LOOK_EVERY_MS = 1000;
const LOOK_TIMEOUT_MS = 2000;

/**
 * Hears of what any receiver stores, in a session that does nothing else: at once by NOTIFY where `listens`, and by looking once a second,
 * and calls `arrived` then. Returns what ends that.
 */
export function startWatcher(connection: Connection, listens: boolean, arrived: () => void): () => void {
  let newest: string | null | undefined;
  let isLooking = false;

  /** A session does one thing at a time. Where it is lost, that is seen elsewhere. */
  async function look(): Promise<void> {
    if (isLooking) return;
    isLooking = true;
    try {
      const { results } = await connection.run([READ_NEWEST], LOOK_TIMEOUT_MS);
      const found = results[0]?.rows[0]?.['newest'];
      if (newest !== undefined && found !== newest) arrived();
      newest = found;
    } catch {
      // It is lost.
    }
    isLooking = false;
  }
  async function listen(): Promise<void> {
    isLooking = true;
    await connection.run([LISTEN], LOOK_TIMEOUT_MS).catch(() => {});
    isLooking = false;
    arrived();
  }

  if (listens) void listen();
  const timer = setInterval(() => void look(), LOOK_EVERY_MS);
  return () => clearInterval(timer);
}
