import { constants, fstatSync, openSync, write } from 'node:fs';
import { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/**
 * Writes lines to a file descriptor without ever blocking the caller: one asynchronous write at a time, the lines that
 * come meanwhile gathered for the next. (`process.stdout` blocks the whole process on a pipe that nobody reads.)
 */
export interface LineWriter {
  /** Queues one line, the newline added here. Past the bound, or while nobody has the other end of the pipe, it is counted as dropped. */
  write(line: string): void;
  /** How many lines were dropped so far. */
  dropped(): number;
  /** Resolves when all queued lines are written, or after `timeoutMs` milliseconds, whichever is first. */
  flush(timeoutMs: number): Promise<void>;
}

/** Most text held for a slow reader of the log beside what is being written, in UTF-16 units: some 30,000 lines. */
const MAX_QUEUED_UNITS = 8 * 1024 * 1024;
/** After an error that passes: a full disk, or a full pipe that its other user made non-blocking. */
const RETRY_MS = 20;
/** Between two lines that try whether a pipe without a reader (EPIPE) has one again, as a named one can. */
const NEW_READER_MS = 200;
const NEWLINE = 0x0a;

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

/** `describeLost` makes the line that says how many were dropped; it stands where they would. */
export function createLineWriter(fd: number, describeLost: (lines: number) => string): LineWriter {
  const queue = createQueue(describeLost);
  let inFlight = 0;
  let isLineTorn = false;
  let readerAwaitedUntil = -Infinity;
  let whenIdle: (() => void)[] = [];

  function writeQueued(): void {
    const { text, lines } = queue.take();
    inFlight = lines;
    writeFrom(Buffer.from(isLineTorn ? `\n${text}` : text), 0);
  }

  function writeFrom(chunk: Buffer, offset: number): void {
    write(fd, chunk, offset, chunk.length - offset, null, (error, written) => {
      if (error?.code === 'EPIPE') {
        if (offset > 0) isLineTorn = chunk[offset - 1] !== NEWLINE;
        return lose(performance.now() + NEW_READER_MS);
      }
      // By now the descriptor may be that of something else.
      if (error?.code === 'EBADF') return lose(Infinity);
      if (error !== null) return void setTimeout(writeFrom, RETRY_MS, chunk, offset);
      if (offset + written < chunk.length) return writeFrom(chunk, offset + written);
      isLineTorn = false;
      queue.written();
      settle();
    });
  }

  function lose(until: number): void {
    readerAwaitedUntil = until;
    queue.lose(inFlight);
    settle();
  }

  function settle(): void {
    inFlight = 0;
    if (!queue.isEmpty()) return writeQueued();
    for (const resolve of whenIdle) resolve();
    whenIdle = [];
  }

  return {
    write(line) {
      if (performance.now() < readerAwaitedUntil) return queue.drop();
      queue.add(line);
      if (inFlight === 0 && !queue.isEmpty()) writeQueued();
    },
    dropped: queue.dropped,
    async flush(timeoutMs) {
      if (inFlight === 0) return;
      const idle = new Promise<void>((resolve) => whenIdle.push(resolve));
      await Promise.race([idle, delay(timeoutMs, undefined, { ref: false })]);
    },
  };
}

/** Lines that wait to be written, and the count of those that were dropped, told of once each where a reader gets it. */
function createQueue(describeLost: (lines: number) => string) {
  let text = '';
  let lines = 0;
  let dropped = 0;
  /** Of the dropped ones: told of in what was queued so far, in what was taken, and in what was written. */
  let toldQueued = 0;
  let toldTaken = 0;
  let toldWritten = 0;
  return {
    /** Past the bound it drops the line. */
    add(line: string): void {
      if (text.length + line.length > MAX_QUEUED_UNITS) {
        dropped += 1;
        return;
      }
      if (dropped > toldQueued) text += `${describeLost(dropped - toldQueued)}\n`;
      toldQueued = dropped;
      text += `${line}\n`;
      lines += 1;
    },
    drop(): void { dropped += 1; },
    dropped: () => dropped,
    isEmpty: () => lines === 0,
    take() {
      const taken = { text, lines };
      [text, lines, toldTaken] = ['', 0, toldQueued];
      return taken;
    },
    /** What was taken has reached the reader. */
    written(): void { toldWritten = toldTaken; },
    /** What was taken is lost, so many lines, and all that waits too. */
    lose(taken: number): void {
      dropped += taken + lines;
      [text, lines, toldQueued] = ['', 0, toldWritten];
    },
  };
}
