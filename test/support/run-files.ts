/**
 * Runs test files with node:test, each in a process of its own, and tells how the run goes: a line for each file when it ends, each
 * failure at once, and the files that are still running where nothing else has been said for a while.
 */
import { globSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { inspect, parseArgs } from 'node:util';

/** Bounds for what hangs, not for what is slow: a test may wait twice in vain, and all of them have taken ten minutes on a busy machine. */
const TEST_TIMEOUT_MS = 5 * 60_000;
const RUN_TIMEOUT_MS = 30 * 60_000;
const FILES_AT_ONCE = 4;
const SAY_SOMETHING_EVERY_MS = 15_000;

const { values: { coverage = false }, positionals } = parseArgs({ options: { coverage: { type: 'boolean' } }, allowPositionals: true });
// The large ones first, which take long, so that none of them is left to run alone at the end.
const size = (file: string) => statSync(file).size;
const files = positionals.length > 0 ? positionals : globSync('test/**/*.test.ts').toSorted((a, b) => size(b) - size(a));

// Types are stripped once for all processes, but for a coverage, which the cache would blur.
const env = coverage ? process.env : { ...process.env, NODE_COMPILE_CACHE: join(tmpdir(), 'compile-cache') };

const begin = performance.now();
const running = new Map<string, number>();
const failed: string[] = [];
let spokeAt = begin;
const secondsSince = (time: number) => `${((performance.now() - time) / 1000).toFixed(1)} s`;

function say(line: string): void {
  spokeAt = performance.now();
  console.log(line);
}

setInterval(() => {
  if (performance.now() - spokeAt < SAY_SOMETHING_EVERY_MS) return;
  say(`… ${secondsSince(begin)}, running: ${[...running].map(([file, since]) => `${file} (${secondsSince(since)})`).join(', ')}`);
}, 1000);

const events = run({
  files, concurrency: FILES_AT_ONCE, timeout: TEST_TIMEOUT_MS, signal: AbortSignal.timeout(RUN_TIMEOUT_MS), env,
  execArgv: ['--import', import.meta.resolve('./end-with-tests.ts')],
  ...(coverage && { coverage, coverageIncludeGlobs: ['src/**'], lineCoverage: 95 }),
});

events.on('test:dequeue', ({ name, nesting }) => {
  if (nesting === 0 && files.includes(name)) running.set(name, performance.now());
});

events.on('test:complete', ({ name, file = '', skip, details: { passed, error, type } }) => {
  const since = running.get(name);
  const place = since === undefined ? `${relative('', file)}: ${name}` : name;
  if (!passed && type !== 'suite') {
    failed.push(place);
    say(`✖ ${place}\n${inspect(error?.cause ?? error)}`);
  }
  if (typeof skip === 'string') say(`- ${place}: skipped, ${skip}`);
  if (since === undefined) return;
  running.delete(name);
  say(`${passed ? '✔' : '✖'} ${name} (${secondsSince(since)})`);
});
events.on('test:stdout', ({ message }) => process.stdout.write(message));
events.on('test:stderr', ({ message }) => process.stderr.write(message));

// The counts and the coverage, as Node.js shows them.
const report = spec();
report.pipe(process.stdout);
events.on('test:coverage', (data) => report.write({ type: 'test:coverage', data }));
events.on('test:diagnostic', (data) => {
  if (data.file === undefined) report.write({ type: 'test:diagnostic', data });
});
events.on('test:summary', ({ file }) => {
  if (file === undefined) report.end();
});
report.on('end', () => {
  for (const place of failed) console.log(`✖ ${place}`);
  // Without waiting for a file that hangs and had to be given up.
  process.exit(failed.length === 0 ? process.exitCode : 1);
});
