/** SIGHUP to the real process: keys that rotate under load, and new values that are no good. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { startClosedLoop } from './support/load.ts';
import { message, sign } from './support/messages.ts';
import { CHECKOUT, startServerProcess } from './support/server-process.ts';
import { temporaryFolder } from './support/temporary.ts';
import { waitFor } from './support/wait.ts';

const OLD = 'the old secret, long enough';
const NEW = 'the new secret, long enough';

async function start(t: TestContext) {
  const folder = temporaryFolder(t);
  const write = (name: string, content: string) => {
    const path = join(folder, name);
    writeFileSync(path, content);
    return path;
  };
  const env = {
    DATABASE_URL: join(folder, 'app.db'), METRICS_TOKEN_FILE: write('metrics', 'monitoring-token-1\n'),
    WEBHOOK_SECRET_FILE: write('current', `${OLD}\n`), WEBHOOK_SECRET_PREVIOUS_FILE: write('previous', `${OLD}\n`),
  };
  const server = startServerProcess(t, { env });
  const url = await server.url();
  const outcomes = () => server.lines.filter(({ event }) => event === 'credentials_reloaded' || event === 'reload_failed');
  const reload = async () => {
    const before = outcomes().length;
    server.child.kill('SIGHUP');
    return waitFor('the outcome of the reload', () => outcomes()[before]);
  };
  const metric = async (series: string, token = 'monitoring-token-1') => {
    const text = await (await fetch(`${url}/metrics`, { headers: { Authorization: `Bearer ${token}` } })).text();
    return Number(text.split('\n').find((line) => line.startsWith(`${series} `))?.split(' ')[1]);
  };
  const send = async (secret: string) => {
    const body = JSON.stringify(message({ message_id: 'sent by hand' }));
    return (await fetch(`${url}/webhook`, { method: 'POST', body, headers: { 'X-Signature': sign(body, secret) } })).status;
  };
  return { server, url, port: Number(new URL(url).port), write, reload, metric, send };
}

describe('SIGHUP', () => {
  test('rotates a key under load: every good request is accepted, and metrics tell when the old key is out of use', async (t) => {
    const { server, port, write, reload, metric, send } = await start(t);
    let secret = OLD;
    let numbered = 0;
    const { sent, stop } = startClosedLoop(t, port, 16, () => `m${numbered += 1}`, { secret: () => secret });
    const someMore = async () => {
      const before = sent.length;
      await waitFor('more messages', () => sent.length > before + 200);
    };

    await someMore();
    write('current', `${NEW}\n`);
    assert.equal((await reload())['event'], 'credentials_reloaded');
    await someMore();
    assert.ok(await metric('webhook_signatures_verified_total{key="previous"}') > 0);
    secret = NEW;
    await someMore();
    const still = await metric('webhook_signatures_verified_total{key="previous"}');
    await someMore();
    assert.equal(await metric('webhook_signatures_verified_total{key="previous"}'), still);
    write('previous', `${NEW}\n`);
    assert.equal((await reload())['event'], 'credentials_reloaded');
    await someMore();
    await stop();

    assert.deepEqual(sent.filter(({ status }) => status !== 200), []);
    assert.deepEqual([await send(OLD), await send(NEW)], [401, 200]);
    assert.equal(await metric('credentials_reloads_total{outcome="ok"}'), 2);
    const logged = JSON.stringify(server.lines) + server.stderr();
    for (const canary of [OLD, NEW, 'monitoring-token-1']) assert.ok(!logged.includes(canary));
  });

  test('keeps every old value where one new value is no good, and says which', async (t) => {
    const { write, reload, metric, send } = await start(t);
    write('current', `${NEW}\n`);
    write('metrics', '\n');
    const outcome = await reload();
    assert.deepEqual([outcome['event'], outcome['level'], outcome['problems']], ['reload_failed', 'ERROR', ['METRICS_TOKEN_FILE names a file that is empty']]);
    assert.deepEqual([await send(OLD), await send(NEW)], [200, 401]);
    assert.equal(await metric('credentials_reloads_total{outcome="failed"}'), 1);

    write('metrics', 'monitoring-token-2');
    assert.equal((await reload())['event'], 'credentials_reloaded');
    assert.deepEqual([await send(OLD), await send(NEW)], [200, 200]);
    assert.ok(Number.isNaN(await metric('webhook_inbox_ready')));
    assert.equal(await metric('webhook_inbox_ready', 'monitoring-token-2'), 1);
  });

  test('keeps every old value where a new one cannot be meant, and takes a doubtful one with a warning', async (t) => {
    const { server, write, reload, metric, send } = await start(t);
    for (const [content, problem] of [
      [`\ufeff${NEW}`, 'WEBHOOK_SECRET has an invisible character, such as a byte order mark or a zero-width space: remove it'],
      [`WEBHOOK_SECRET=${NEW}`, 'WEBHOOK_SECRET begins with the name of a variable: give what stands after that'],
    ] as const) {
      write('current', content);
      assert.deepEqual((await reload())['problems'], [problem]);
    }
    assert.deepEqual([await send(OLD), await send(NEW)], [200, 401]);
    assert.equal(await metric('credentials_reloads_total{outcome="failed"}'), 2);

    write('current', `${NEW}\n\n`);
    assert.equal((await reload())['event'], 'credentials_reloaded');
    const warning = 'WEBHOOK_SECRET begins or ends with white space: remove it, unless meant';
    await waitFor('the warning', () => server.lines.some((line) => line['warning'] === warning));
    assert.deepEqual([await send(`${NEW}\n`), await send(NEW)], [200, 401]);
    assert.ok(!(JSON.stringify(server.lines) + server.stderr()).includes(NEW));
  });

  test('is logged with the names of what is set, at the start too, and warns again of what is unwise', async (t) => {
    const { server, write, reload } = await start(t);
    const set = ['WEBHOOK_SECRET', 'WEBHOOK_SECRET_PREVIOUS', 'METRICS_TOKEN'];
    assert.deepEqual((await server.line('credentials_read'))['set'], set);
    const warnings = () => server.lines.filter(({ event }) => event === 'config_warning').map(({ warning }) => String(warning).split(' ')[0]);
    await waitFor('the warnings', () => warnings().length === 5);
    assert.deepEqual(warnings(), ['SIGNATURE_SCHEMES', 'READ_TOKEN', 'PRIVATE_PORT', 'TLS_CERT_FILE', 'TLS_CLIENT_CA_FILE']);
    write('current', 'short');
    assert.deepEqual((await reload())['set'], set);
    await waitFor('the warning', () => warnings().length === 6);
    assert.equal(warnings().at(-1), 'WEBHOOK_SECRET');
  });

  test('of a terminal that is closed ends it, and one that is sent in a terminal does not', async (t) => {
    const folder = temporaryFolder(t);
    const output = join(folder, 'output');
    const command = `exec ${process.execPath} ${join(CHECKOUT, 'src/server.ts')} > ${output}`;
    // A program that gives another one a terminal of its own.
    const terminal = spawn('script', ['--quiet', '--command', command, '/dev/null'], {
      env: { PATH: process.env['PATH'], WEBHOOK_SECRET: OLD, DATABASE_URL: join(folder, 'app.db'), HOST: '127.0.0.1', PORT: '0' }, stdio: ['pipe', 'ignore', 'ignore'],
    });
    t.after(() => void terminal.kill('SIGKILL'));
    const failed = await new Promise((resolve) => terminal.once('spawn', () => resolve(false)).once('error', () => resolve(true)));
    if (failed === true) return t.skip('script (util-linux) is not installed here');
    const has = (event: string) => waitFor(event, () => existsSync(output) && readFileSync(output, 'utf8').includes(`"event":"${event}"`));
    await has('started');
    const pid = Number(spawnSync('pgrep', ['--parent', String(terminal.pid)], { encoding: 'utf8' }).stdout);
    process.kill(pid, 'SIGHUP');
    await has('credentials_reloaded');
    terminal.kill('SIGKILL');
    await has('stopping');
    assert.match(readFileSync(output, 'utf8'), /"event":"stopping","cause":"SIGHUP"/);
  });

  test('reloads where a terminal is the input and yet not its own', async (t) => {
    const folder = temporaryFolder(t);
    const output = join(folder, 'output');
    const command = `exec setsid --wait ${process.execPath} ${join(CHECKOUT, 'src/server.ts')} > ${output}`;
    const terminal = spawn('script', ['--quiet', '--command', command, '/dev/null'], {
      env: { PATH: process.env['PATH'], WEBHOOK_SECRET: OLD, DATABASE_URL: join(folder, 'app.db'), HOST: '127.0.0.1', PORT: '0' }, stdio: ['pipe', 'ignore', 'ignore'],
    });
    t.after(() => void terminal.kill('SIGKILL'));
    const failed = await new Promise((resolve) => terminal.once('spawn', () => resolve(false)).once('error', () => resolve(true)));
    if (failed === true || spawnSync('setsid', ['--version']).error !== undefined) return t.skip('util-linux is not installed here');
    const written = () => (existsSync(output) ? readFileSync(output, 'utf8') : '');
    const pid = Number(await waitFor('its pid', () => /"event":"started","pid":(\d+)/.exec(written())?.[1]));
    t.after(() => void process.kill(pid, 'SIGKILL'));
    process.kill(pid, 'SIGHUP');
    await waitFor('the reload', () => written().includes('"event":"credentials_reloaded"'));
    assert.ok(!written().includes('"event":"stopping"'));
  });

  test('does no harm where there is nothing to read', async (t) => {
    const server = startServerProcess(t, { env: { DATABASE_URL: join(temporaryFolder(t), 'app.db') } });
    const url = await server.url();
    server.child.kill('SIGHUP');
    await server.line('credentials_reloaded');
    assert.equal((await fetch(`${url}/health/ready`)).status, 200);
  });
});
