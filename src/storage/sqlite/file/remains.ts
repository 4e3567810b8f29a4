import type { DatabaseSync } from 'node:sqlite';
import { reasonOf } from '../failures.ts';
import { createPageSlack } from './page-slack.ts';
import { logBytes } from './write-ahead-log.ts';

/** From the first removal to the first try to empty the log, in milliseconds: others may follow. */
const EMPTY_AFTER_MS = 5000;
/** If readers have kept it from that for so long, more has to be done. */
const HELD_AFTER_MS = 20_000;

/**
 * What is left of messages that are gone, in the files of a database: in the log until that is emptied, also where it has begun again
 * since, and then in pages, beside their cells (`page-slack.ts`).
 */
export interface Remains {
  /** Tells that messages were removed. */
  removed(): void;
  /** Whether the log has to be emptied. */
  isDue(): boolean;
  isHeld(): boolean;
  /** To be called after each checkpoint: where the log is empty, some pages are cleaned. Throws SQLite's errors and the file system's. */
  tried(): void;
  /** For a file that is removed: see `PageSlack`. */
  close(): void;
}

export interface RemainsOptions {
  /** The connection that writes. */
  readonly database: DatabaseSync;
  readonly path: string;
  /** For how long pages may be cleaned after one checkpoint: nothing is written meanwhile. */
  readonly cleanForMs: number;
  /** Told after each time that the file was written to past SQLite. */
  readonly onWritten?: () => void;
}

export function createRemains({ database, path, cleanForMs, onWritten = () => {} }: RemainsOptions): Remains {
  const slack = createPageSlack(database, path, onWritten);
  let since: number | undefined;
  /** Pages are cleaned from the first to the last, and once more where the log was emptied of further messages meanwhile. */
  let passes = 0;
  const isOlderThan = (ms: number) => since !== undefined && performance.now() - since > ms;

  function cleanPages(): void {
    try {
      if (passes === 0 || !slack.clean(cleanForMs)) return;
      passes -= 1;
      slack.restart();
    } catch (error) {
      // The next time.
      if (reasonOf(error) !== 'the database is locked by another process') throw error;
    }
  }
  return {
    removed() {
      since ??= performance.now();
    },
    isDue: () => passes > 0 || isOlderThan(EMPTY_AFTER_MS),
    isHeld: () => isOlderThan(HELD_AFTER_MS),
    tried() {
      if (logBytes(path) > 0) return;
      if (since !== undefined) passes = passes === 0 ? 1 : 2;
      since = undefined;
      cleanPages();
    },
    close: slack.close,
  };
}
