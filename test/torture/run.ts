/** `make torture`: every scenario in turn, a progress line for each step, and a table of all figures at the end. */
import { isInstalled } from '../support/postgres.ts';
import { care } from './care.ts';
import { largeBodies, slowClients, tinyChunks } from './clients.ts';
import { diskFull, failedSync } from './disk.ts';
import { drainUnderLoad } from './drain.ts';
import { changedFiles, delayedEnd } from './files.ts';
import { foreignReader, failedCheckpoint } from './log-growth.ts';
import { indexLoss } from './index-loss.ts';
import { kills } from './kills.ts';
import { life, lifeOnPostgres } from './life.ts';
import { busyReader, overload } from './overload.ts';
import { queuedSearches, silentStreams } from './readers.ts';
import { runAndReport } from './report.ts';
import type { Scenario } from './scenario.ts';
import { syncOrder } from './sync-order.ts';
import { behindStreams, silentHeads, unreadAnswers } from './unread.ts';

const SCENARIOS: readonly Scenario[] = [
  kills, life, ...(isInstalled ? [lifeOnPostgres] : []), care, syncOrder, failedSync, diskFull, indexLoss, foreignReader, failedCheckpoint,
  drainUnderLoad, delayedEnd, changedFiles, busyReader, slowClients, silentStreams, queuedSearches, largeBodies, tinyChunks, unreadAnswers,
  behindStreams, silentHeads, overload,
];

const wanted = process.argv.slice(2);
await runAndReport(SCENARIOS.filter(({ name }) => wanted.every((word) => name.includes(word))));
