import { constants, fstatSync, openSync, write } from 'node:fs';
import { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/**
 * Writes lines to a file descriptor without ever blocking the caller: one asynchronous write at a time, the lines that
 * come meanwhile gathered for the next. (`process.stdout` blocks the whole process on a pipe that nobody reads.)
 */
export interface LineWriter {
  /** Queues one line, the newline added here. Past the bound, or after the descriptor failed, the line is counted as dropped. */
  write(line: string): void;
  /** How many lines were dropped so far. */
  dropped(): number;
  /** Resolves when all queued lines are written, or after `timeoutMs` milliseconds, whichever is first. */
  flush(timeoutMs: number): Promise<void>;
}

/** Most text held for a slow reader of the log beside what is being written, in UTF-16 units: some 30,000 lines. */
const MAX_QUEUED_UNITS = 8 * 1024 * 1024;
/** Errors after which nobody reads any more. Others pass: a full disk, or a full pipe that its other user made non-blocking. */
const FINAL_ERRORS = new Set<string | undefined>(['EPIPE', 'EBADF']);
const RETRY_MS = 20;

/** Kept, as a collected socket would close its descriptor. */
const nonBlocking: Socket[] = [];

/**
 * The descriptor to write a log to. A write to a full pipe would hold a thread of Node.js, and with it the end of the
 * process; so a pipe is opened once more without blocking, which leaves it as it is for whoever else has it. Where that is
 * not possible (no /proc, or a pipe of another user) it is the standard one. A socket, such as systemd gives, cannot be
 * opened again: node:net makes it non-blocking when it takes hold of it.
 */
export function openLogDescriptor(standard: number): number {
  try {
    const kind = fstatSync(standard);
    if (kind.isSocket()) nonBlocking.push(new Socket({ fd: standard, readable: false, writable: true }).unref());
    if (!kind.isFIFO()) return standard;
    return openSync(`/proc/self/fd/${standard}`, constants.O_WRONLY | constants.O_NONBLOCK);
  } catch {
    return standard;
  }
}

export function createLineWriter(fd: number): LineWriter {
  let queued: string[] = [];
  let queuedUnits = 0;
  let inFlight = 0;
  let droppedLines = 0;
  let failed = false;
  let whenIdle: (() => void)[] = [];

  function writeQueued(): void {
    const chunk = Buffer.from(queued.join(''));
    inFlight = queued.length;
    queued = [];
    queuedUnits = 0;
    writeFrom(chunk, 0);
  }

  function writeFrom(chunk: Buffer, offset: number): void {
    write(fd, chunk, offset, chunk.length - offset, null, (error, written) => {
      if (error !== null && FINAL_ERRORS.has(error.code)) fail();
      else if (error !== null) setTimeout(writeFrom, RETRY_MS, chunk, offset);
      else if (offset + written < chunk.length) writeFrom(chunk, offset + written);
      else settle();
    });
  }

  function fail(): void {
    failed = true;
    droppedLines += inFlight + queued.length;
    queued = [];
    settle();
  }

  function settle(): void {
    inFlight = 0;
    if (queued.length > 0) return writeQueued();
    for (const resolve of whenIdle) resolve();
    whenIdle = [];
  }

  return {
    write(line) {
      if (failed || queuedUnits + line.length > MAX_QUEUED_UNITS) {
        droppedLines += 1;
        return;
      }
      queued.push(`${line}\n`);
      queuedUnits += line.length + 1;
      if (inFlight === 0) writeQueued();
    },
    dropped: () => droppedLines,
    async flush(timeoutMs) {
      if (inFlight === 0) return;
      const idle = new Promise<void>((resolve) => whenIdle.push(resolve));
      await Promise.race([idle, delay(timeoutMs, undefined, { ref: false })]);
    },
  };
}
