/** Whether the files stop growing: a year of messages that expire, in minutes, as the service has a clock that a day's worth moves on. */
import { Agent } from 'node:http';
import { statSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as delay } from 'node:timers/promises';
import { SEGMENT_BITS } from '../../src/storage/sqlite/indexing/text-index/trigrams.ts';
import { sign } from '../support/messages.ts';
import { createMovedClock } from '../support/moved-clock.ts';
import { ask } from '../support/request.ts';
import type { Scope } from '../support/temporary.ts';
import { provideDatabase } from './databases.ts';
import { startService } from './processes.ts';
import { totalOf } from './rounds.ts';
import { inScope } from './scope.ts';
import { below, exactly, figure, median, type DaySizes, type Figure, show, type Stage } from './stage.ts';
import { randomMessage } from './traffic.ts';

const DAYS = 365;
const MONTH_DAYS = 30;
const MESSAGES_A_DAY = 1000;
const KEPT_DAYS = 30;
const REMEMBERED_DAYS = 30;
/** The service looks once a second what has expired: several days may pass between. */
const MOST_DAYS_BEHIND = 3;
const CONNECTIONS = 32;
const DAY_MS = 24 * 60 * 60 * 1000;
const BEGIN = Date.UTC(2025, 0, 1);
const LOOK_EVERY_MS = 20;
/** Of the text index so much goes at a time. */
const SEGMENT_DAYS = Math.ceil(2 ** SEGMENT_BITS / MESSAGES_A_DAY);
/** From then on as much goes as comes, of messages, of what is known of their ids, and of the index. */
const FULL_AFTER_DAYS = KEPT_DAYS + Math.max(REMEMBERED_DAYS, SEGMENT_DAYS + MONTH_DAYS);
const SHOWN_DAYS = [30, 90, 365];

export const year: Stage = {
  name: 'life of a message: a year',
  async run(bench) {
    const { sizes, refused, kept, expected } = await inScope(async (scope) => live(scope, await provideDatabase(scope, bench, 0), bench.progress));
    bench.year.push(...sizes);
    const name = `a year of ${show(MESSAGES_A_DAY)} messages a day, kept for ${KEPT_DAYS} days`;
    return [
      ...SHOWN_DAYS.map((day) => sizeFigure(`${name}: the database and its index after ${day} days`, sizes, day)),
      figure(`${name}: their size in the last month, times that of the first month when they were full`, [growth(sizes)], '', below(1.05, '')),
      figure(`${name}: largest log`, [Math.max(...sizes.map(({ logs }) => logs)) / 1e6], ' MB'),
      exactly(`${name}: messages refused`, refused, 0),
      exactly(`${name}: messages at its end`, kept, expected),
    ];
  },
};

function growth(sizes: readonly DaySizes[]): number {
  const sizeOf = (days: readonly DaySizes[]) => median(days.map(({ database, index }) => database + index));
  return sizeOf(sizes.slice(-MONTH_DAYS)) / sizeOf(sizes.slice(FULL_AFTER_DAYS, FULL_AFTER_DAYS + MONTH_DAYS));
}

function sizeFigure(what: string, sizes: readonly DaySizes[], day: number): Figure {
  const { database, index } = sizes[day - 1] ?? { database: NaN, index: NaN };
  return figure(what, [(database + index) / 1e6], ' MB');
}

async function live(scope: Scope, path: string, progress: (text: string) => void) {
  const clock = createMovedClock(dirname(path), BEGIN);
  const settings = { RETENTION_DAYS: String(KEPT_DAYS), DEDUP_DAYS: String(REMEMBERED_DAYS) };
  const service = await startService(scope, path, clock.nodeArguments, settings);
  const send = createSend(scope, service.url);
  const database = new DatabaseSync(path, { readOnly: true });
  scope.after(() => database.close());
  const oldest = database.prepare('SELECT received_at FROM messages ORDER BY id LIMIT 1');
  const since = (days: number) => Number(oldest.get()?.['received_at']) >= clock.now() - days * DAY_MS;
  const sizes: DaySizes[] = [];
  let refused = 0;
  for (let day = 1; day <= DAYS; day += 1) {
    clock.advance(DAY_MS);
    refused += await send(clock.now());
    while (!since(KEPT_DAYS + MOST_DAYS_BEHIND)) await delay(LOOK_EVERY_MS);
    sizes.push(sizesOf(path));
    if (day % MONTH_DAYS === 0) progress(`day ${day} of ${DAYS}, ${show((sizes.at(-1)?.database ?? NaN) / 1e6)} MB`);
  }
  while (!since(KEPT_DAYS)) await delay(LOOK_EVERY_MS);
  const kept = await totalOf(service);
  await service.end('SIGTERM');
  // What came a moment ago, at the beginning of the first day that is kept, too.
  return { sizes, refused, kept, expected: (KEPT_DAYS + 1) * MESSAGES_A_DAY };
}

/** Sends a day's worth, as of a time; resolves with how many were not acknowledged. */
function createSend(scope: Scope, url: string): (at: number) => Promise<number> {
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  scope.after(() => agent.destroy());
  return async (at) => {
    let [sent, refused] = [0, 0];
    await Promise.all(Array.from({ length: CONNECTIONS }, async () => {
      while (sent < MESSAGES_A_DAY) {
        sent += 1;
        const body = JSON.stringify(randomMessage(at));
        const { status } = await ask(`${url}/webhook`, { agent, method: 'POST', headers: { 'X-Signature': sign(body) }, body });
        if (status !== 200) refused += 1;
      }
    }));
    return refused;
  };
}

function sizesOf(path: string): DaySizes {
  const size = (suffix: string) => statSync(path + suffix, { throwIfNoEntry: false })?.size ?? 0;
  return { database: size(''), index: size('-index'), logs: size('-wal') + size('-index-wal') };
}
