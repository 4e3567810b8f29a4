import { setImmediate as yieldToSignals, setTimeout as delay } from 'node:timers/promises';
import type { Message } from '../../src/message.ts';
import { createAppend } from '../../src/storage/sqlite/file/append.ts';
import { openForWriting } from '../../src/storage/sqlite/file/open.ts';
import { createRemembered } from '../../src/storage/sqlite/file/remembered.ts';
import { inScope } from './scope.ts';
import { get, startService } from './processes.ts';
import { random, randomMessage } from './traffic.ts';

const MESSAGES_PER_TRANSACTION = 5000;
const TRANSACTIONS_PER_CHECKPOINT = 20;
const CACHE_KIB = 512 * 1024;
const DAY_MS = 24 * 60 * 60 * 1000;
export const SPAN_MS = 180 * DAY_MS;
/** How much later than others of its time a message may come. */
export const JITTER_MS = 2 * 60 * 1000;
const REPORT_EVERY_MS = 3000;
const LOOK_EVERY_MS = 500;

/** Makes a database of so many messages, as the service would have made it within the last half year. */
export async function fill(path: string, rows: number, progress: (text: string) => void): Promise<void> {
  await insertAll(path, rows, progress);
  const begin = performance.now();
  const report = setInterval(() => {
    progress(`the service has been completing ${rows} rows for ${Math.round((performance.now() - begin) / 1000)} s`);
  }, REPORT_EVERY_MS);
  try {
    // Whatever the service builds at a start or brings up to date before its end is in the file from now on.
    await inScope(async (scope) => {
      const service = await startService(scope, path);
      while (!(await get(`${service.url}/metrics`)).body.includes('\nstorage_index_lag_messages 0\n')) await delay(LOOK_EVERY_MS);
      await service.end('SIGTERM');
    });
  } finally {
    clearInterval(report);
  }
}

async function insertAll(path: string, rows: number, progress: (text: string) => void): Promise<void> {
  const { database } = openForWriting(path, () => {}, () => false);
  database.exec(`PRAGMA cache_size = -${CACHE_KIB}`);
  const append = createAppend(database, createRemembered(database));
  const begin = Date.now() - SPAN_MS;
  let reported = performance.now();
  for (let done = 0, transactions = 1; done < rows; transactions += 1) {
    const messages: Message[] = [];
    let at = begin;
    for (; messages.length < MESSAGES_PER_TRANSACTION && done < rows; done += 1) {
      at = begin + Math.floor((done / rows) * SPAN_MS);
      messages.push(randomMessage(at - Math.floor(random() * JITTER_MS)));
    }
    database.exec('BEGIN IMMEDIATE');
    append({ received_at: at, messages });
    database.exec('COMMIT');
    if (transactions % TRANSACTIONS_PER_CHECKPOINT === 0) database.exec('PRAGMA wal_checkpoint(PASSIVE)');
    if (performance.now() - reported > REPORT_EVERY_MS) {
      reported = performance.now();
      progress(`filled ${done} of ${rows} rows`);
    }
    await yieldToSignals();
  }
  database.close();
}
