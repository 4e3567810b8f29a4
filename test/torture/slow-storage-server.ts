/** The real service over a storage that takes 2,000 messages a second and no more: a program of its own, for the overload scenario. */
import { setTimeout as delay } from 'node:timers/promises';
import { startApp } from '../../src/app.ts';
import { createLineWriter } from '../../src/observe/line-writer.ts';
import { createLog, describeLostLines } from '../../src/observe/log.ts';
import { createGroupCommit, QUEUE_CAPACITY } from '../../src/storage/group-commit.ts';
import { openStorage } from '../../src/storage/open.ts';
import type { AppendOutcome } from '../../src/storage/storage.ts';
import type { Message } from '../../src/message.ts';
import { testConfig } from '../support/app.ts';

const PER_SECOND = 2000;

const lines = createLineWriter(1, describeLostLines);
const log = createLog(lines, 'INFO');
await startApp({
  config: testConfig({ DATABASE_URL: process.env['DATABASE_URL'] ?? '', MAX_CONNECTIONS: '5000' }),
  log,
  announce: (event, fields) => log('INFO', event, fields),
  droppedLogLines: lines.dropped,
  async openStorage(options) {
    const storage = await openStorage(options);
    let freeAt = performance.now();
    const slowed = createGroupCommit<Message, AppendOutcome>({
      capacity: QUEUE_CAPACITY,
      async commit(messages) {
        const outcomes = await Promise.all(messages.map((message) => storage.append(message)));
        freeAt = Math.max(freeAt, performance.now()) + (messages.length / PER_SECOND) * 1000;
        await delay(Math.max(0, freeAt - performance.now()));
        return outcomes;
      },
    });
    return { ...storage, append: slowed.add, hasRoom: slowed.hasRoom, queueDepth: slowed.depth };
  },
});
