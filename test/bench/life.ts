/** What the life of a message costs those who send: backups that are made, and messages that expire, while others come. */
import { spawn } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as delay } from 'node:timers/promises';
import { CHECKOUT } from '../support/server-process.ts';
import type { Scope } from '../support/temporary.ts';
import { provideDatabase } from './databases.ts';
import type { Result } from './load-generator.ts';
import { runLoad, startService } from './processes.ts';
import { maximumRate, openLoop, repeat, WARM_UP_SECONDS } from './rounds.ts';
import { inScope } from './scope.ts';
import {
  acceptedIn, atLeast, below, type Bench, exactly, type Figure, figure, joined, latencyAt, notAccepted, show, type Stage,
} from './stage.ts';

const MOST_ROUNDS = 3;
const LOOK_EVERY_MS = 100;
const DAY_MS = 24 * 60 * 60 * 1000;
/** One of so many messages expires. */
const PER_EXPIRING = 10;
const SHORT_LOG_BYTES = 1024 * 1024;

/** What goes on beside the messages. */
interface Beside {
  /** Settings of the service, which the database of before its start may decide. */
  settings(path: string): Record<string, string>;
  /** Begins once the service is ready; the messages come for as long as `isGoingOn`, and at least for one round. */
  begin(scope: Scope, path: string): GoingOn;
}

interface GoingOn {
  isGoingOn(): boolean;
  /** Once the messages have ended: resolves with how long it took, in seconds. */
  end(): Promise<number>;
}

const NOTHING: Beside = { settings: () => ({}), begin: () => ({ isGoingOn: () => false, end: async () => 0 }) };

interface Measured {
  readonly ingest: Result;
  /** Of the service, for each message, in microseconds. */
  readonly processorMicros: number;
  readonly seconds: number;
  readonly largestLogMegabytes: number;
  /** From the last message until the log was short. */
  readonly logSeconds: number;
}

async function measure(bench: Bench, rate: number, { settings, begin }: Beside): Promise<Measured> {
  return inScope(async (scope) => {
    const path = await provideDatabase(scope, bench, bench.options.rows);
    const service = await startService(scope, path, [], settings(path));
    const log = watchLog(scope, path);
    const beside = begin(scope, path);
    await runLoad(scope, openLoop(service.port, rate, WARM_UP_SECONDS));
    const results: Result[] = [];
    const before = service.processorSeconds();
    do results.push(await runLoad(scope, openLoop(service.port, rate, bench.options.seconds)));
    while (beside.isGoingOn());
    const ingest = joined(results);
    const processorMicros = ((service.processorSeconds() - before) / acceptedIn(ingest)) * 1e6;
    const seconds = await beside.end();
    const logSeconds = await log.untilShort();
    await service.end('SIGTERM');
    return { ingest, processorMicros, seconds, largestLogMegabytes: log.largestMegabytes(), logSeconds };
  });
}

/** The log of the messages grows while a snapshot is held, and is emptied afterwards. */
function watchLog(scope: Scope, path: string) {
  const bytes = () => statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0;
  let largest = 0;
  const timer = setInterval(() => { largest = Math.max(largest, bytes()); }, LOOK_EVERY_MS);
  scope.after(() => clearInterval(timer));
  return {
    largestMegabytes: () => largest / 1e6,
    async untilShort(): Promise<number> {
      const began = performance.now();
      while (bytes() > SHORT_LOG_BYTES) await delay(LOOK_EVERY_MS);
      return (performance.now() - began) / 1000;
    },
  };
}

/** One backup after another, so that there is always one; the time of the first counts. */
const BACKUPS: Beside = {
  settings: () => ({}),
  begin(scope, path) {
    const folder = join(dirname(path), 'backups');
    mkdirSync(folder);
    const began = performance.now();
    let seconds = 0;
    let isEnding = false;
    const backups = (async () => {
      while (!isEnding) {
        await backUp(scope, path, join(folder, 'copy.db'));
        if (seconds === 0) seconds = (performance.now() - began) / 1000;
        for (const name of readdirSync(folder)) rmSync(join(folder, name));
      }
    })();
    // It is waited for at the end.
    backups.catch(() => {});
    return {
      isGoingOn: () => seconds === 0,
      async end() {
        isEnding = true;
        await backups;
        return seconds;
      },
    };
  },
};

/** Rejects where it did not end with status 0. */
async function backUp(scope: Scope, path: string, target: string): Promise<void> {
  const child = spawn(process.execPath, [join(CHECKOUT, 'dist/backup.js'), target], {
    env: { DATABASE_URL: path }, stdio: ['ignore', 'ignore', 'inherit'],
  });
  scope.after(() => void child.kill('SIGKILL'));
  const status = await new Promise((resolve, reject) => child.on('close', resolve).on('error', reject));
  if (status !== 0) throw new Error(`backup.js ended with ${String(status)}`);
}

/** A tenth of the messages, and what makes a whole day full. */
const EXPIRING: Beside = {
  settings(path) {
    const tenth = readValue(path, `
      SELECT received_at AS value FROM messages ORDER BY id LIMIT 1 OFFSET (SELECT count(*) FROM messages) / ${PER_EXPIRING}`);
    return { RETENTION_DAYS: String(Math.floor((Date.now() - tenth) / DAY_MS)) };
  },
  begin(scope, path) {
    const began = performance.now();
    const tenth = readValue(path, `SELECT min(id) + count(*) / ${PER_EXPIRING} AS value FROM messages`);
    let seconds = 0;
    const timer = setInterval(() => {
      if (readValue(path, 'SELECT min(id) AS value FROM messages') < tenth) return;
      clearInterval(timer);
      seconds = (performance.now() - began) / 1000;
    }, LOOK_EVERY_MS);
    scope.after(() => clearInterval(timer));
    const isGoingOn = () => seconds === 0;
    return {
      isGoingOn,
      async end() {
        while (isGoingOn()) await delay(LOOK_EVERY_MS);
        return seconds;
      },
    };
  },
};

function readValue(path: string, sql: string): number {
  const database = new DatabaseSync(path, { readOnly: true });
  try {
    return Number(database.prepare(sql).get()?.['value']);
  } finally {
    database.close();
  }
}

const sizeOf = ({ options }: Bench) => `${show(options.rows)} rows at half the maximum`;

/** Each beside nothing and beside the other, in turn. */
async function compare(bench: Bench, beside: Beside) {
  const rate = (await maximumRate(bench)) / 2;
  return repeat(bench, async () => {
    const alone = await measure(bench, rate, NOTHING);
    const together = await measure(bench, rate, beside);
    const ratio = (of: (measured: Measured) => number) => of(together) / of(alone);
    return {
      alone, together,
      share: ratio(({ ingest }) => acceptedIn(ingest) / ingest.seconds) * 100,
      p99: ratio(({ ingest }) => latencyAt(ingest, 0.99)),
      processor: ratio(({ processorMicros }) => processorMicros),
    };
  }, ({ share, p99, together }) => `ingest kept ${show(share)} %, ${show(p99)} times its p99, it took ${show(together.seconds)} s`,
  Math.min(bench.options.rounds, MOST_ROUNDS));
}

type Compared = Awaited<ReturnType<typeof compare>>;

function commonFigures(name: string, rounds: Compared, leastShare: number): Figure[] {
  const all = rounds.flatMap(({ alone, together }) => [alone, together]);
  return [
    figure(`${name}: ingest, share kept`, rounds.map(({ share }) => share), ' %', atLeast(leastShare, ' %')),
    figure(`${name}: processor time of the service a message, times that alone`, rounds.map(({ processor }) => processor), ''),
    figure(`${name}: largest log`, rounds.map(({ together }) => together.largestLogMegabytes), ' MB'),
    figure(`${name}: until the log was short again`, rounds.map(({ together }) => together.logSeconds), ' s'),
    exactly(`${name}: answers other than 200, or none`, all.reduce((sum, { ingest }) => sum + notAccepted(ingest), 0), 0),
  ];
}

export const backups: Stage = {
  name: 'life of a message: backup',
  async run(bench) {
    const rounds = await compare(bench, BACKUPS);
    const name = `${sizeOf(bench)}, beside backup.js`;
    return [
      ...commonFigures(name, rounds, 80),
      figure(`${name}: ingest, p99 alone`, rounds.map(({ alone }) => latencyAt(alone.ingest, 0.99)), ' ms'),
      figure(`${name}: ingest, times its p99 alone`, rounds.map(({ p99 }) => p99), '', below(3, '')),
      figure(`${name}: a backup`, rounds.map(({ together }) => together.seconds), ' s'),
    ];
  },
};

export const expiring: Stage = {
  name: 'life of a message: expiring',
  async run(bench) {
    const rounds = await compare(bench, EXPIRING);
    const name = `${sizeOf(bench)}, while a tenth of them expires`;
    return [
      ...commonFigures(name, rounds, 90),
      figure(`${name}: ingest, times its p99 alone`, rounds.map(({ p99 }) => p99), ''),
      figure(`${name}: until no expired row is left`, rounds.map(({ together }) => together.seconds), ' s'),
    ];
  },
};
