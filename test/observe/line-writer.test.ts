import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, constants, openSync, readFileSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { createLineWriter } from '../../src/observe/line-writer.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { waitFor } from '../support/wait.ts';

const LONG_FLUSH_MS = 10_000;
const describeLost = (lines: number) => `lost ${lines}`;

describe('createLineWriter', () => {
  test('writes every line, in order', async (t) => {
    const path = join(temporaryFolder(t), 'log');
    const fd = openSync(path, 'w');
    const lines = createLineWriter(fd, describeLost);
    const expected = Array.from({ length: 1000 }, (_, index) => `line ${index} é`);
    for (const line of expected) lines.write(line);
    await lines.flush(LONG_FLUSH_MS);
    closeSync(fd);
    assert.equal(readFileSync(path, 'utf8'), expected.map((line) => `${line}\n`).join(''));
    assert.equal(lines.dropped(), 0);
  });

  /** A named pipe whose reader does not read; opened without blocking, so that a full one answers EAGAIN. */
  function openPipe(folder: string) {
    const path = join(folder, 'pipe');
    execFileSync('mkfifo', [path]);
    const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const writer = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
    return { reader, writer };
  }

  test('drops and counts lines when nobody reads, without blocking, and goes on when somebody does', async (t) => {
    const { reader, writer } = openPipe(temporaryFolder(t));
    const lines = createLineWriter(writer, describeLost);
    const line = 'x'.repeat(1024 * 1024);
    for (let written = 0; written < 20; written += 1) lines.write(line);
    assert.ok(lines.dropped() > 0);
    const kept = 20 - lines.dropped();
    const buffer = Buffer.alloc(1024 * 1024);
    let read = 0;
    await waitFor('the kept lines', () => {
      try {
        read += readSync(reader, buffer);
      } catch {
        return false;
      }
      return read === kept * (line.length + 1);
    });
    await lines.flush(LONG_FLUSH_MS);
    closeSync(reader);
    closeSync(writer);
  });

  test('counts lines as dropped once the reader has gone', async (t) => {
    const { reader, writer } = openPipe(temporaryFolder(t));
    const lines = createLineWriter(writer, describeLost);
    closeSync(reader);
    lines.write('first');
    await lines.flush(LONG_FLUSH_MS);
    lines.write('second');
    assert.equal(lines.dropped(), 2);
    closeSync(writer);
  });

  /** All that is in the pipe now. */
  function readAll(reader: number): string {
    let text = '';
    const buffer = Buffer.alloc(1024 * 1024);
    try {
      for (let read = 0; (read = readSync(reader, buffer)) > 0;) text += buffer.toString('utf8', 0, read);
    } catch {
      // Empty: EAGAIN.
    }
    return text;
  }

  test('goes on when another reader comes, and says in one line how many it has missed', async (t) => {
    const folder = temporaryFolder(t);
    const { reader, writer } = openPipe(folder);
    t.after(() => closeSync(writer));
    const lines = createLineWriter(writer, describeLost);
    for (let readers = 0, current = reader; readers < 3; readers += 1) {
      closeSync(current);
      lines.write('missed');
      await lines.flush(LONG_FLUSH_MS);
      current = openSync(join(folder, 'pipe'), constants.O_RDONLY | constants.O_NONBLOCK);
      const before = lines.dropped();
      let received = '';
      await waitFor('a line', async () => {
        lines.write('line');
        await lines.flush(LONG_FLUSH_MS);
        received += readAll(current);
        return received !== '';
      });
      const missed = /^lost ([0-9]+)\nline\n$/.exec(received)?.[1];
      assert.ok(missed !== undefined && Number(missed) >= 1, received);
      assert.ok(lines.dropped() >= before);
      if (readers === 2) closeSync(current);
    }
  });

  test('begins a line of its own for another reader where one was torn', async (t) => {
    const folder = temporaryFolder(t);
    const { reader, writer } = openPipe(folder);
    t.after(() => closeSync(writer));
    const lines = createLineWriter(writer, describeLost);
    lines.write('x'.repeat(1024 * 1024));
    await waitFor('a part of the line', () => readAll(reader) !== '');
    closeSync(reader);
    await lines.flush(LONG_FLUSH_MS);
    const another = openSync(join(folder, 'pipe'), constants.O_RDONLY | constants.O_NONBLOCK);
    t.after(() => closeSync(another));
    let received = '';
    await waitFor('a whole line', async () => {
      lines.write('line');
      await lines.flush(LONG_FLUSH_MS);
      received += readAll(another);
      return received.endsWith('line\n');
    });
    assert.match(received, /^x*\nlost [0-9]+\nline\n$/);
  });

  test('waits for a stalled reader no longer than it is told', async (t) => {
    const { reader, writer } = openPipe(temporaryFolder(t));
    const lines = createLineWriter(writer, describeLost);
    lines.write('x'.repeat(1024 * 1024));
    await lines.flush(1);
    closeSync(reader);
    await lines.flush(LONG_FLUSH_MS);
    closeSync(writer);
  });
});
