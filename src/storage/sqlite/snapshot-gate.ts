import type { ThreadData } from './thread.ts';

/** For how long a reader keeps out of the way, in milliseconds: what is left of the log is copied by then, or it waits in vain. */
const STAY_OUT_MS = 500;
/** A snapshot so old is in the way of a log that has to begin again, in milliseconds. A younger one ends soon by itself. */
const IN_THE_WAY_MS = 1000;

/**
 * Gives who writes a moment in which this process has no snapshot open, as only then the log can begin again
 * (https://sqlite.org/wal.html#avoiding_excessively_large_wal_files). Where reads follow one another closely, chance gives none.
 */
export interface SnapshotGate {
  /** Of who writes, to the messages or to the index: asks old snapshots to end, and has new ones wait. Always to be opened again. */
  close(): void;
  open(): void;
  isClosed(): boolean;
  /** A reader's, before it takes a snapshot: waits while the gate is closed, though half a second at most. */
  pass(): void;
  /** Whether a snapshot that was taken at that `performance.now()` has to end. */
  mustEnd(takenAt: number): boolean;
}

/** What a thread gets that takes snapshots, or has to have none in its way. */
export interface GatedData extends ThreadData {
  /** Of the gate: what its two sides share. */
  readonly gate: SharedArrayBuffer;
}

export const createGateMemory = () => new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);

export function createSnapshotGate(memory: SharedArrayBuffer): SnapshotGate {
  /** How many keep it closed. */
  const closed = new Int32Array(memory);
  let isClosedHere = false;
  const isClosed = () => Atomics.load(closed, 0) > 0;
  return {
    close() {
      if (!isClosedHere) Atomics.add(closed, 0, 1);
      isClosedHere = true;
    },
    open() {
      if (isClosedHere) Atomics.sub(closed, 0, 1);
      isClosedHere = false;
      Atomics.notify(closed, 0);
    },
    isClosed,
    pass() {
      const closers = Atomics.load(closed, 0);
      if (closers > 0) Atomics.wait(closed, 0, closers, STAY_OUT_MS);
    },
    mustEnd: (takenAt) => isClosed() && performance.now() - takenAt > IN_THE_WAY_MS,
  };
}
