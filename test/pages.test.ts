/** What the pages list of settings, metrics, events and routes is what the code has. */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { startTestApp } from './support/app.ts';
import { knownVariables } from './support/known-variables.ts';
import { CHECKOUT } from './support/server-process.ts';

const readPage = (name: string) => readFileSync(join(CHECKOUT, name), 'utf8');
const FRONT_PAGE = readPage('README.md');
const API_PAGE = readPage('src/http/README.md');

/** A section of a page, without its heading. */
function sectionOf(page: string, heading: string): string {
  const section = page.split(/^## /m).find((found) => found.startsWith(`${heading}\n`));
  assert.ok(section, heading);
  return section.slice(heading.length);
}

/** What stands as code in the first cell of each row of a section's tables. */
function namesIn(section: string): string[] {
  const cells = section.split('\n').filter((line) => line.startsWith('| ')).map((line) => line.split(' | ')[0] ?? '');
  return cells.flatMap((cell) => [...cell.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name));
}

test('every setting is in the table of settings, and nothing else is', () => {
  const known = knownVariables();
  // Of a secret or a token the table has the name alone; that each may be a file stands below it.
  const settings = [...known].filter((name) => !known.has(name.replace(/_FILE$/, '')) || !name.endsWith('_FILE'));
  const listed = namesIn(sectionOf(FRONT_PAGE, 'Configuration')).filter((name) => /^[A-Z_]+$/.test(name));
  assert.deepEqual(listed.toSorted(), settings.toSorted());
});

test('every metric is in the tables of metrics with its labels, and nothing else is', async (t) => {
  const app = await startTestApp(t);
  await app.send();
  const shown = await (await app.get('/metrics')).text();
  const ofSystem = /^(?:process|nodejs)_/;
  // That of a certificate is shown only where there is one.
  const families = ['tls_certificate_expiry_days', ...shown.matchAll(/^# TYPE (\S+)/gm).map(([, name = '']) => name).filter((name) => !ofSystem.test(name))];
  const listed = namesIn(sectionOf(API_PAGE, 'GET /metrics'));
  assert.deepEqual(listed.map((name) => name.replace(/\{.*/, '')).filter((name) => !ofSystem.test(name)).toSorted(), families.toSorted());
  for (const name of listed.filter((found) => found.includes('{'))) {
    const [family = '', labels = ''] = name.slice(0, -1).split('{');
    const [, series] = new RegExp(`^${family}(?:_bucket)?\\{(.*?)(?:,?le=".*")?\\}`, 'm').exec(shown) ?? [];
    if (series !== undefined) assert.deepEqual([...series.matchAll(/(\w+)=/g)].map(([, label]) => label).join(), labels, family);
  }
});

test('every reason for which a signature is refused is in the table of what to do about it', async (t) => {
  const app = await startTestApp(t);
  const shown = await (await app.get('/metrics')).text();
  const reasons = [...shown.matchAll(/^webhook_signature_failures_total\{reason="(\w+)"\}/gm)].map(([, reason = '']) => reason);
  assert.ok(reasons.length > 3);
  const rows = sectionOf(readPage('scripts/senders/README.md'), 'A sender gets 401').split('\n').filter((line) => line.startsWith('| `invalid_signature` |'));
  assert.deepEqual(rows.map((row) => row.split(' | ')[1]), reasons.map((reason) => `\`${reason}\``));
});

test('every event that the service logs is in the tables of the log', () => {
  const sources = globSync('src/**/*.ts', { cwd: CHECKOUT, exclude: ['src/process/move.ts', 'src/process/verify.ts'] }).map(readPage).join('\n');
  const calls = [...sources.matchAll(/\b(?:log|plainLog|notice|announce)\((?:'[A-Z]+', |levelOf\(.*?\), )?'([a-z_]+)'/g)];
  const events = new Set(calls.map(([, event = '']) => event));
  assert.ok(events.size > 20);
  const listed = namesIn(sectionOf(API_PAGE, 'Logs'));
  assert.deepEqual([...events].filter((event) => !listed.includes(event)), []);
});

test('every route is in the table of the API, and has a part of its own in the detailed page', () => {
  const paths = [...readPage('src/routes.ts').matchAll(/'(\/[a-z/]+)'/g)].map(([, path = '']) => path);
  assert.ok(paths.length > 5);
  const listed = namesIn(sectionOf(FRONT_PAGE, 'API')).map((name) => name.split(' ').at(-1));
  const headings = [...API_PAGE.matchAll(/^## (.*)$/gm)].flatMap(([, heading = '']) => heading.split(/, | /));
  for (const path of paths) assert.ok(listed.includes(path) && headings.includes(path), path);
});
