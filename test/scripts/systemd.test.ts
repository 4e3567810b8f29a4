/** The units of systemd: looked at by its own programs, held against the service, and their filter of system calls against what the service calls. */
import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { NODE_FLAGS } from '../../src/operations/hardening.ts';
import { knownVariables } from '../support/known-variables.ts';
import { message, SECRET, sign } from '../support/messages.ts';
import { ask } from '../support/request.ts';
import { CHECKOUT, startServerProcess } from '../support/server-process.ts';
import { temporaryFolder, type Scope } from '../support/temporary.ts';

const FOLDER = join(CHECKOUT, 'scripts/systemd');
const UNITS = readdirSync(FOLDER).filter((name) => /\.(?:service|timer)$/.test(name));
const readUnit = (name: string) => readFileSync(join(FOLDER, name), 'utf8');
/** Every value of a setting, in its order. */
const valuesOf = (unit: string, setting: string) => [...unit.matchAll(new RegExp(`^${setting}=(.*)$`, 'gm'))].map(([, value = '']) => value);
const environmentOf = (unit: string): Record<string, string> => Object.fromEntries(valuesOf(unit, 'Environment').map((pair) => pair.split('=', 2)));

const SERVICE = readUnit('webhook-inbox.service');
const BACKUP = readUnit('webhook-inbox-backup.service');
const run = promisify(execFile);
const noAnalyze = spawnSync('systemd-analyze', ['--version']).status !== 0 && 'systemd-analyze is not installed here';
const noStrace = spawnSync('strace', ['-V']).status !== 0 && 'strace is not installed here';

describe('the units', () => {
  test('are sound, and their exposure is below 2', { skip: noAnalyze }, async (t) => {
    const folder = temporaryFolder(t);
    // It looks whether there is such a program, and what is here has another place.
    for (const name of UNITS) writeFileSync(join(folder, name), readUnit(name).replace('/usr/local/bin/node', process.execPath));
    const verified = spawnSync('systemd-analyze', ['verify', '--man=no', ...UNITS.map((name) => join(folder, name))], { encoding: 'utf8' });
    assert.deepEqual([verified.status, verified.stdout, verified.stderr], [0, '', '']);
    for (const name of UNITS.filter((unit) => unit.endsWith('.service'))) {
      const { stdout } = await run('systemd-analyze', ['security', '--offline=true', '--no-pager', '--threshold=19', join(folder, name)]);
      t.diagnostic(stdout.trim().split('\n').at(-1) ?? '');
    }
  });

  test('set variables that the service reads, start what is built with its flags, and wait for its end', () => {
    const known = knownVariables();
    for (const unit of [SERVICE, BACKUP]) {
      for (const name of Object.keys(environmentOf(unit))) assert.ok(known.has(name), name);
      const [command = ''] = valuesOf(unit, 'ExecStart');
      assert.deepEqual(command.split(' ').filter((argument) => NODE_FLAGS.includes(argument)), NODE_FLAGS);
    }
    assert.equal(environmentOf(BACKUP)['DATABASE_URL'], environmentOf(SERVICE)['DATABASE_URL']);
    const page = readFileSync(join(FOLDER, 'README.md'), 'utf8');
    for (const [name, path] of Object.entries(environmentOf(SERVICE))) {
      if (name.endsWith('_FILE')) assert.ok(page.includes(path.replace('/etc/webhook-inbox/', '')), name);
    }
    assert.ok(Number(valuesOf(SERVICE, 'TimeoutStopSec')[0]) * 1000 >= 8000 + 2000);
  });
});

/** The system calls that a unit lets through, as systemd has its named sets; `@default` always. */
function allowedCalls(unit: string): Set<string> {
  const members = (name: string): string[] => {
    if (!name.startsWith('@')) return [name];
    const listed = spawnSync('systemd-analyze', ['--no-pager', 'syscall-filter', name], { encoding: 'utf8' }).stdout;
    return [...listed.matchAll(/^ +([@\w-]+)$/gm)].flatMap(([, member = '']) => members(member));
  };
  const allowed = new Set(members('@default'));
  for (const filter of valuesOf(unit, 'SystemCallFilter')) {
    for (const call of members(filter.replace('~', ''))) {
      if (filter.startsWith('~')) allowed.delete(call);
      else allowed.add(call);
    }
  }
  return allowed;
}

/** Whom to be where this process is root, as the units are not: SQLite does more as root. */
const UNPRIVILEGED = 65_534;
const isRoot = process.getuid?.() === 0;

/** Folders and files in the place of those of a unit, its user's. */
function placesOf(scope: Scope) {
  const folder = temporaryFolder(scope);
  const places = { '/var/lib/webhook-inbox-backups': join(folder, 'backups'), '/var/lib/webhook-inbox': join(folder, 'state'), '/etc/webhook-inbox': join(folder, 'etc') };
  for (const place of Object.values(places)) mkdirSync(place);
  for (const name of ['webhook-secret', 'webhook-secret-previous']) writeFileSync(join(places['/etc/webhook-inbox'], name), `${SECRET}\n`);
  for (const name of ['read-token', 'metrics-token']) writeFileSync(join(places['/etc/webhook-inbox'], name), `a-${name}-of-the-unit\n`);
  for (const place of isRoot ? [folder, ...Object.values(places)] : []) chownSync(place, UNPRIVILEGED, UNPRIVILEGED);
  chmodSync(folder, 0o700);
  const replace = (text: string) => Object.entries(places).reduce((replaced, [of, place]) => replaced.replaceAll(of, place), text);
  const environment = (unit: string) => Object.fromEntries(Object.entries(environmentOf(unit)).map(([name, value]) => [name, replace(value)]));
  return { folder, replace, environment };
}

/** What a trace has of calls that the unit does not let through, and of sockets of other families. */
function refusedIn(trace: string, unit: string): string[] {
  const allowed = allowedCalls(unit);
  const families = (valuesOf(unit, 'RestrictAddressFamilies')[0] ?? '').split(' ');
  const lines = readFileSync(trace, 'utf8').split('\n');
  const calls = lines.map((line) => /^\d+ +(?:<\.\.\. )?(\w+)(?:\(| resumed)/.exec(line)?.[1] ?? '').filter((call) => call !== '');
  assert.ok(new Set(calls).size > 30 && calls.some((call) => /^f(?:data)?sync$/.test(call)), 'a trace of the whole');
  const sockets = lines.map((line) => /\bsocket\((\w+)/.exec(line)?.[1] ?? '').filter((family) => family !== '' && !families.includes(family));
  return [...new Set([...calls.filter((call) => !allowed.has(call)), ...sockets])];
}

describe('the filter of system calls', { skip: noAnalyze || noStrace }, () => {
  const strace = (trace: string) => ['strace', '-f', '-qq', '-e', 'signal=none', '-o', trace];

  test('lets through what the service and its backup call', async (t) => {
    const { folder, replace, environment } = placesOf(t);
    // The walls are others' to test.
    const { REQUIRE_HARDENED: _walls, ...env } = environment(SERVICE);
    const server = startServerProcess(t, {
      script: 'dist/server.js', nodeArguments: NODE_FLAGS, env: { ...env, PRIVATE_PORT: '0' }, wrapper: strace(join(folder, 'service')),
      ...(isRoot && { uid: UNPRIVILEGED }),
    });
    const { pid } = await server.line('started');
    const { private_port } = await server.line('listening');
    const body = JSON.stringify(message());
    assert.equal((await ask(`${await server.url()}/webhook`, { method: 'POST', body, headers: { 'X-Signature': sign(body) } })).status, 200);
    const headers = { Authorization: 'Bearer a-read-token-of-the-unit' };
    for (const path of ['/messages?q=Hello', '/stats', '/']) assert.equal((await ask(`http://127.0.0.1:${private_port}${path}`, { headers })).status, 200, path);
    process.kill(Number(pid), 'SIGHUP');
    await server.line('credentials_reloaded');

    const [command = ''] = valuesOf(BACKUP, 'ExecStart');
    const [, ...args] = replace(command).replace('/opt/webhook-inbox', CHECKOUT).split(' ');
    const [traced = '', ...options] = strace(join(folder, 'backup'));
    const { stdout } = await run(traced, [...options, process.execPath, ...args], { env: environment(BACKUP), ...(isRoot && { uid: UNPRIVILEGED, gid: UNPRIVILEGED }) });
    assert.match(stdout, /"event":"backed_up"/);

    process.kill(Number(pid), 'SIGTERM');
    assert.equal((await server.ended).code, 0);
    assert.deepEqual(refusedIn(join(folder, 'service'), SERVICE), []);
    assert.deepEqual(refusedIn(join(folder, 'backup'), BACKUP), []);
  });
});
