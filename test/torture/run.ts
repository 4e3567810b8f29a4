/** `make torture`: every scenario in turn, a progress line for each step, and a table of all figures at the end. */
import { spawnSync } from 'node:child_process';
import { styleText } from 'node:util';
import { largeBodies, slowClients, tinyChunks } from './clients.ts';
import { diskFull, failedSync } from './disk.ts';
import { drainUnderLoad } from './drain.ts';
import { changedFiles, delayedEnd } from './files.ts';
import { foreignReader, failedCheckpoint } from './log-growth.ts';
import { indexLoss } from './index-loss.ts';
import { kills } from './kills.ts';
import { busyReader, overload } from './overload.ts';
import { queuedSearches, silentStreams } from './readers.ts';
import type { Figure, Scenario } from './scenario.ts';
import { syncOrder } from './sync-order.ts';
import { behindStreams, silentHeads, unreadAnswers } from './unread.ts';

const SCENARIOS: readonly Scenario[] = [
  kills, syncOrder, failedSync, diskFull, indexLoss, foreignReader, failedCheckpoint, drainUnderLoad, delayedEnd, changedFiles,
  busyReader, slowClients, silentStreams, queuedSearches, largeBodies, tinyChunks, unreadAnswers, behindStreams, silentHeads,
  overload,
];

const isInstalled = (command: string) => spawnSync('sh', ['-c', `command -v ${command}`]).status === 0;

async function run(scenario: Scenario): Promise<readonly Figure[]> {
  const missing = (scenario.needs ?? []).filter((command) => !isInstalled(command));
  if (missing.length > 0) return [{ what: 'not run', measured: `${missing.join(', ')} not installed`, bound: '', holds: true }];
  const cleanUps: (() => void | Promise<void>)[] = [];
  try {
    return await scenario.run({ after: (cleanUp) => cleanUps.push(cleanUp) }, (text) => console.log(`  ${text}`));
  } catch (error) {
    return [{ what: 'ended early', measured: error instanceof Error ? error.message : String(error), bound: '', holds: false }];
  } finally {
    for (const cleanUp of cleanUps.toReversed()) await cleanUp();
  }
}

const wanted = process.argv.slice(2);
const rows: string[] = [];
let failed = 0;
for (const scenario of SCENARIOS.filter(({ name }) => wanted.every((word) => name.includes(word)))) {
  console.log(styleText('bold', scenario.name));
  for (const { what, measured, bound, holds } of await run(scenario)) {
    if (!holds) failed += 1;
    console.log(`  ${holds ? styleText('green', 'ok') : styleText('red', 'FAILED')} ${what}: ${measured}${bound && ` (${bound})`}`);
    rows.push(`| ${scenario.name} | ${what} | ${measured} | ${bound} |`);
  }
}
console.log(`\n| scenario | figure | measured | bound |\n| --- | --- | --- | --- |\n${rows.join('\n')}\n`);
console.log(`${rows.length - failed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
