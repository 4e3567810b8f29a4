import type { DatabaseSync } from 'node:sqlite';
import type { UnavailableReason } from '../../errors.ts';
import { checkpoint } from './checkpoint.ts';
import { reasonOf } from './failures.ts';
import type { CheckpointerReply } from './protocol.ts';
import { startThread } from './thread.ts';

/** Commits and probes after which the log is copied into the database file: many, as pages that changed often are copied once. */
const CHECKPOINT_EVERY_WRITES = 5000;

/** The writer's hold on the checkpointer thread. */
export interface Checkpoints {
  /** Tells of so many messages and probes that were written. */
  wrote(count: number): void;
  close(): Promise<void>;
}

/**
 * Keeps the write-ahead log of the writer's connection from growing without bound: the thread copies most of it, the writer
 * what came meanwhile, so that a commit waits for that alone. A failure costs only a longer log, save a failed sync: that is told.
 */
export function startCheckpoints(database: DatabaseSync, path: string, onFailed: (reason: UnavailableReason) => void): Checkpoints {
  const thread = startThread('checkpointer', { path });
  let running = false;
  let writes = 0;

  function finish(): void {
    try {
      checkpoint(database, path);
    } catch (error) {
      onFailed(reasonOf(error));
    }
  }
  thread.on('message', ({ failure }: CheckpointerReply) => {
    running = false;
    if (failure === null) finish();
    else onFailed(failure);
  });
  // Without it the log would grow for ever. Thrown here it ends the writer, and so the process.
  thread.on('error', (error) => { throw error; });

  return {
    wrote(count) {
      writes += count;
      if (writes < CHECKPOINT_EVERY_WRITES || running) return;
      writes = 0;
      running = true;
      thread.postMessage('checkpoint');
    },
    async close() {
      await thread.terminate();
    },
  };
}
