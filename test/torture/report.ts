import { spawnSync } from 'node:child_process';
import { styleText } from 'node:util';
import type { Figure, Scenario } from './scenario.ts';

export const isCommand = (command: string) => spawnSync('sh', ['-c', `command -v ${command}`]).status === 0;

async function run(scenario: Scenario): Promise<readonly Figure[]> {
  const missing = (scenario.needs ?? []).filter((command) => !isCommand(command));
  if (missing.length > 0) return [{ what: 'not run', measured: `${missing.join(', ')} not installed`, bound: '', holds: true }];
  const cleanUps: (() => void | Promise<void>)[] = [];
  const cleanUp = async () => {
    while (cleanUps.length > 0) await cleanUps.pop()?.();
  };
  // Whoever ends it early leaves nothing behind either.
  const endEarly = () => void cleanUp().finally(() => process.exit(1));
  process.once('SIGINT', endEarly).once('SIGTERM', endEarly);
  try {
    return await scenario.run({ after: (added) => void cleanUps.push(added) }, (text) => console.log(`  ${text}`));
  } catch (error) {
    return [{ what: 'ended early', measured: error instanceof Error ? error.message : String(error), bound: '', holds: false }];
  } finally {
    process.off('SIGINT', endEarly).off('SIGTERM', endEarly);
    await cleanUp();
  }
}

/** Runs scenarios in turn, prints each step and a table of all figures at the end, and sets the exit status: 1 where one does not hold. */
export async function runAndReport(scenarios: readonly Scenario[]): Promise<void> {
  const rows: string[] = [];
  let failed = 0;
  for (const scenario of scenarios) {
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
}
