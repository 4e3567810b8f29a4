import type { DatabaseSync } from 'node:sqlite';
import type { UnavailableReason } from '../../../errors.ts';
import { withoutWaiting } from '../connection-options.ts';
import { reasonOf } from '../failures.ts';
import type { Remains } from '../file/remains.ts';
import { checkpoint, createLogMeter, isLogLarge, type LogState } from '../file/write-ahead-log.ts';
import type { SnapshotGate } from '../snapshot-gate.ts';
import { startThread } from '../thread.ts';
import type { CheckpointerReply } from './protocol.ts';

/** Pages written to the log after which it is copied, 64 MiB: many, as pages that changed often are copied once. */
const CHECKPOINT_EVERY_PAGES = 16_384;
/** Fewer wait so long. */
const COPY_AFTER_MS = 2000;
/** With fewer than that, 1 MiB, nobody waits for the log to be emptied, nor for a file that has to grow anew. */
const QUIET_PAGES = 256;
/** How often it is looked whether a checkpoint is due by time, and so how soon one that failed, or left a large log, is tried again. */
const LOOK_EVERY_MS = 1000;
/** From asking own reads to end to their end: a few of their steps. */
const READS_END_MS = 100;
/** Own reads are asked to end that seldom, at first and at last, where it does not help. */
const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 60_000;

const HELD: UnavailableReason = 'a reader keeps the log from being emptied';

/** The writer's hold on the checkpointer thread. */
export interface Checkpoints {
  /** Tells that something was written. */
  wrote(): void;
  close(): Promise<void>;
}

export interface CheckpointOptions {
  /** The connection that writes. */
  readonly database: DatabaseSync;
  readonly path: string;
  readonly gate: SnapshotGate;
  /** Throws where the files are not what they were: copying the log would hide that, and what it does not have would stay lost. */
  readonly requireFiles: () => void;
  /** The log is emptied for, and after. */
  readonly remains: Remains;
  /** Told when checkpoints begin to fail or leave a large log, of every other reason, and, with null, when all is well again. */
  readonly onChange: (reason: UnavailableReason | null) => void;
}

/**
 * Keeps the write-ahead log of the writer's connection from growing without bound: the thread copies most of it, the writer
 * what came meanwhile, so that a commit waits for that alone, and for no reader. A failure costs only a longer log, save a failed sync.
 */
export function startCheckpoints({ database, path, gate, requireFiles, remains, onChange }: CheckpointOptions): Checkpoints {
  const [readLog, ownReads] = [createLogMeter(database), createOwnReads(gate)];
  let round: 'none' | 'quiet' | 'busy' = 'none';
  let pagesThen = 0;
  let endedAt = performance.now();
  let reason: UnavailableReason | null = null;

  function end(now: UnavailableReason | null): void {
    round = 'none';
    gate.open();
    endedAt = performance.now();
    if (now !== reason) onChange(now);
    reason = now;
  }
  const orEnd = (work: () => void): void => {
    try {
      work();
    } catch (error) {
      end(reasonOf(error));
    }
  };
  const copier = startCopier(path, ({ failure, copiedAll }) => orEnd(() => {
    if (failure !== null) return end(failure);
    withoutWaiting(database, () => {
      // Where a reader held some, it may go at this very moment, and the writer would have to copy all of that.
      if (copiedAll) checkpoint(database, path, round === 'quiet' || remains.isDue());
      remains.tried();
    });
    const { pages, copied } = readLog();
    pagesThen = pages;
    const isHeld = isLogLarge(path) || remains.isHeld();
    ownReads.tried(copied, isHeld);
    end(isHeld ? HELD : null);
  }));
  /** Since the last checkpoint. The log may have begun again. */
  const written = (pages: number): number => (pages >= pagesThen ? pages - pagesThen : pages);

  function begin({ pages, copied }: LogState): void {
    requireFiles();
    round = written(pages) < QUIET_PAGES ? 'quiet' : 'busy';
    pagesThen = pages;
    if (reason !== HELD || !ownReads.mayHold(copied)) return copier.copy();
    gate.close();
    setTimeout(copier.copy, READS_END_MS);
  }
  const beginIf = (isDue: (pages: number) => boolean) => orEnd(() => {
    const log = readLog();
    if (round === 'none' && isDue(log.pages)) begin(log);
  });

  const isDueByTime = () => reason !== null || performance.now() - endedAt >= COPY_AFTER_MS;
  const timer = setInterval(() => beginIf((pages) => remains.isDue() || (pages > 0 && isDueByTime())), LOOK_EVERY_MS);
  return {
    wrote: () => beginIf((pages) => written(pages) >= CHECKPOINT_EVERY_PAGES),
    async close() {
      clearInterval(timer);
      await copier.close();
    },
  };
}

function startCopier(path: string, onReply: (reply: CheckpointerReply) => void) {
  const thread = startThread({ name: 'checkpointer', beside: import.meta.url, workerData: { path } });
  let closing = false;
  thread.on('message', onReply);
  // Without it the log would grow for ever. Thrown here it ends the writer, and so the process.
  thread.on('error', (error) => { throw error; });
  thread.on('exit', () => { if (!closing) throw new Error('the checkpointer thread ended'); });
  return {
    copy: () => thread.postMessage('checkpoint'),
    async close() {
      closing = true;
      await thread.terminate();
    },
  };
}

/**
 * Whether reads of this process may be what holds a large log. Where it was held at the very page while they were kept out, it is a
 * reader of another process, which ours do not have to suffer for.
 */
function createOwnReads(gate: SnapshotGate) {
  let heldByOthersAt: number | undefined;
  let pauseMs = FIRST_PAUSE_MS;
  let notBefore = -Infinity;
  return {
    mayHold: (copied: number): boolean => copied !== heldByOthersAt && performance.now() >= notBefore,
    tried(copied: number, isHeld: boolean): void {
      if (!isHeld) {
        heldByOthersAt = undefined;
        pauseMs = FIRST_PAUSE_MS;
        notBefore = -Infinity;
      } else if (gate.isClosed()) {
        heldByOthersAt = copied;
        notBefore = performance.now() + pauseMs;
        pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
      }
    },
  };
}
