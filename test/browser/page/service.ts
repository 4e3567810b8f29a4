/** How the service is: empty, ready or not, gone and back, and what the line at the foot says. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { openStorage } from '../../../src/storage/open.ts';
import { startTestApp } from '../../support/app.ts';
import { readEvents } from '../../support/event-stream.ts';
import { SECRET } from '../../support/messages.ts';
import { temporaryFolder } from '../../support/temporary.ts';
import type { Page } from '../browser.ts';
import { click, fill, ids, MIDDLE, NARROW, open, picture, says, setValue, shows, textOf, WIDE } from '../support.ts';

const bodyText = async (page: Page) => String(await page.evaluate('document.body.innerText'));
const runCommand = async (page: Page, secret: string) =>
  promisify(execFile)('sh', ['-c', String(await textOf(page, 'command'))], { env: { ...process.env, WEBHOOK_SECRET: secret } });

/** Its width and its distance from the field. */
const FOCUS_RING_PX = 4;
/** Whether the last of the states ends where the header does, and where the first does, if that stands above it. */
const AT_THE_RIGHT = `((header, first, last) => Math.abs(last.right - header.right) < 1 && (first.bottom > last.top || Math.abs(first.right - header.right) < 1))(
  ...['header', '#readiness', '#connection'].map((part) => document.querySelector(part).getBoundingClientRect()))`;

describe('the page of an empty inbox', () => {
  test('says what to do first, and that command works as it is', async (t) => {
    const app = await startTestApp(t);
    const page = await open(t, app);
    await shows(page, 'The inbox is empty. Send a first message: the command is below.');
    await shows(page, 'Ready');
    await page.until("document.getElementById('sending').open");
    await picture(page, 'empty');
    // As it is pasted, line by line.
    const shell = promisify(execFile)('sh', ['-i'], { env: { ...process.env, WEBHOOK_SECRET: '' } });
    shell.child.stdin?.end(`${String(await textOf(page, 'command'))}\nexit 0\n`);
    const pasted = await shell;
    assert.match(pasted.stderr, /WEBHOOK_SECRET: set it to the secret of the service first/);
    assert.doesNotMatch(pasted.stdout, /HTTP/);
    assert.match((await runCommand(page, SECRET)).stdout, /^HTTP\/1\.1 200 OK/);
    await shows(page, 'Hello from curl');
    await says(page, 'total', '1');
    assert.deepEqual(page.problems, []);
  });

  test('shows a command for Standard Webhooks where that is what is accepted', async (t) => {
    const withoutPadding = `whsec_${Buffer.alloc(25, 7).toString('base64').replace(/=+$/, '')}`;
    for (const secret of ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', withoutPadding, 'a plain secret, long enough']) {
      const app = await startTestApp(t, { SIGNATURE_SCHEMES: 'standard-webhooks', WEBHOOK_SECRET: secret, PRIVATE_PORT: '0' });
      const page = await open(t, app);
      await page.until("document.getElementById('command').textContent.includes('webhook-signature')");
      assert.match((await runCommand(page, secret)).stdout, /^HTTP\/1\.1 200 OK/);
      await shows(page, 'Hello from curl');
      assert.deepEqual(page.problems, []);
    }
  });
});

describe('the state of the service', () => {
  test('is not ready where no secret is set, and then that it has gone', async (t) => {
    const app = await startTestApp(t, { WEBHOOK_SECRET: '' });
    const page = await open(t, app);
    await shows(page, 'Not ready: no secret is set');
    await shows(page, 'The inbox is empty.');
    assert.doesNotMatch(await bodyText(page), /Send a first message/);
    assert.equal(await page.evaluate("document.getElementById('sending').open"), false);
    await picture(page, 'not-ready');
    await app.stop();
    await shows(page, 'The service does not answer');
    await shows(page, 'Not connected, trying again');
    await says(page, 'empty', 'What is in the inbox now is not known.');
    await says(page, 'service', '');
    await says(page, 'readiness', 'No answer');
    assert.equal((await bodyText(page)).match(/does not answer/g)?.length, 1);
    assert.equal(await page.evaluate("document.getElementById('content').classList.contains('stale')"), true);
    for (const viewport of [NARROW, MIDDLE, WIDE]) {
      await page.setViewport(viewport);
      assert.equal(await page.evaluate(AT_THE_RIGHT), true, `the states stand at the right of ${viewport.width} pixels`);
    }
    await picture(page, 'gone');
  });

  test('is degraded while the index is made', async (t) => {
    const reason = 'the read index is being made: 42 % of the messages are in it';
    // The app of a test starts once its storage is readable.
    let reasons: readonly string[] = [];
    const app = await startTestApp(t, {}, async (options) => ({ ...await openStorage(options), degraded: () => reasons, indexLag: () => 5800 }));
    reasons = [reason];
    await fill(app, 0, 12);
    const page = await open(t, app);
    await says(page, 'readiness', `Ready; ${reason}`);
    assert.equal(await page.evaluate("document.getElementById('readiness').className"), 'fair');
    await shows(page, 'Index not ready, 5,800 messages behind');
    await says(page, 'count', '12 messages');
    await picture(page, 'index-being-made');
    assert.deepEqual(page.problems, []);
  });

  test('is told no longer once it has passed, and what had to be left out is shown', async (t) => {
    const databasePath = join(temporaryFolder(t), 'app.db');
    const before = await startTestApp(t, { DATABASE_URL: databasePath });
    await fill(before, 0, 30);
    const page = await open(t, before);
    await says(page, 'count', '30 messages');
    await shows(page, 'Live');
    await before.stop();
    await setValue(page, 'q', 'invoice');
    await says(page, 'problem', 'The service does not answer.');
    await shows(page, 'Not connected, trying again');
    await says(page, 'service', '');
    const again = await startTestApp(t, { DATABASE_URL: databasePath, PORT: String(before.port) });
    await shows(page, 'Live');
    await says(page, 'problem', '');
    assert.deepEqual(await ids(page), ['m20', 'm10', 'm0']);
    await page.until("document.querySelectorAll('#service li').length > 1");
    await page.until("!document.getElementById('content').classList.contains('stale')");
    await again.send({ message_id: 'after', text: 'an invoice again' });
    await shows(page, 'an invoice again');
    await says(page, 'readiness', 'Ready');
  });

  test('is live only once the stream has answered, and tells so', async (t) => {
    const app = await startTestApp(t, { MAX_STREAMS: '1' });
    // Not with fetch: it closes the connection of an answer that nobody reads, once that is collected as garbage.
    const taken = await readEvents(t, `${app.url}/messages/stream`);
    assert.equal(taken.status, 200);
    await fill(app, 0, 3);
    const page = await open(t, app);
    await says(page, 'count', '3 messages');
    await page.evaluate(`(() => {
      window.told = [];
      const connection = document.getElementById('connection');
      new MutationObserver(() => told.push(connection.textContent)).observe(connection, { childList: true });
    })()`);
    await shows(page, 'Not connected, trying again');
    await app.send({ message_id: 'before', text: 'stored while it is not live' });
    taken.close();
    await shows(page, 'Live');
    assert.equal(await page.evaluate("told.findIndex((text) => text === 'Live') === told.length - 1"), true);
    await shows(page, 'stored while it is not live');
  });
});

describe('the line at the foot', () => {
  const parts = async (page: Page): Promise<readonly string[]> =>
    JSON.parse(String(await page.evaluate("JSON.stringify([...document.querySelectorAll('#service li')].map(({ textContent }) => textContent))")));

  test('has the storage, the version, the disk, duplicates and conflicts, streams and the index', async (t) => {
    const app = await startTestApp(t);
    await app.send({ text: 'once' });
    await app.send({ text: 'once' });
    await app.send({ text: 'otherwise' });
    const page = await open(t, app);
    await shows(page, '1 stream open');
    await shows(page, 'Index up to date');
    const [engine, version, disk, duplicates, ...more] = await parts(page);
    assert.match(engine ?? '', /^SQLite 3\.[0-9.]+$/);
    assert.match(version ?? '', /^webhook-inbox [0-9.]+$/);
    assert.match(disk ?? '', /^[0-9.]+ [kMGTP]B free$/);
    assert.deepEqual([duplicates, ...more], ['2 duplicates, 1 conflicting', '1 stream open', 'Index up to date']);
    assert.deepEqual(page.problems, []);
  });

  test('leaves out what /metrics says where that is off or has a token of its own', async (t) => {
    for (const variables of [{ ENABLE_METRICS: 'false' }, { METRICS_TOKEN: 'a-token-for-prometheus' }] as const) {
      const app = await startTestApp(t, variables);
      await app.send();
      const page = await open(t, app);
      await says(page, 'count', '1 message');
      await page.until("document.querySelectorAll('#service li').length === 1");
      assert.match((await parts(page)).join(), /^SQLite/);
      assert.equal(await textOf(page, 'problem'), '');
      assert.deepEqual(page.problems.filter((problem) => !/status of 40[14].*\/metrics/.test(problem)), []);
    }
  });
});

describe('a page that needs a token', () => {
  test('sends none that can be none, and keeps nothing in sight of it once it is forgotten', async (t) => {
    const app = await startTestApp(t, { READ_TOKEN: 'the-token-of-readers' });
    await app.send({ message_id: 'secret', text: 'for readers only' });
    const page = await open(t, app);
    const enter = async (token: string) => {
      await page.until("document.activeElement?.id === 'token'");
      await setValue(page, 'token', token);
      await page.press('Enter');
    };
    await enter('\u201Cthe-token-of-readers\u201D');
    await shows(page, 'That token is not accepted.');
    assert.equal(await page.evaluate("sessionStorage.getItem('read-token')"), null);
    await enter('the-token-of-readers');
    await shows(page, 'for readers only');
    await click(page, '#list a.sender');
    await page.until("location.hash.includes('from=')");
    await page.renewedBy(() => click(page, '#forget-token'));
    await page.until("document.activeElement?.id === 'token' && location.hash === ''");
    assert.doesNotMatch(String(await page.evaluate('document.documentElement.outerHTML')), /for readers only/);
  });

  test('asks for it, keeps it for the tab, and asks again when it is revoked', async (t) => {
    const file = join(temporaryFolder(t), 'token');
    const use = (token: string) => writeFileSync(file, token);
    use('the-token-of-readers');
    const app = await startTestApp(t, { READ_TOKEN_FILE: file, PRIVATE_PORT: '0' });
    await app.send({ message_id: 'secret', text: 'for readers only' });
    const page = await open(t, app);
    await shows(page, 'A token is needed to read');
    assert.doesNotMatch(String(await page.evaluate('document.documentElement.outerHTML')), /for readers only/);
    await picture(page, 'token-needed');
    const enter = async (token: string) => {
      await page.until("document.activeElement.id === 'token'");
      await page.type(token);
      await page.press('Enter');
    };
    await enter('wrong');
    await shows(page, 'That token is not accepted.');
    const distances = `['#token-form label', '#token', '#token-problem'].map((part) => document.querySelector(part).getBoundingClientRect())
      .map(({ top }, index, parts) => (index === 0 ? Infinity : top - parts[index - 1].bottom))`;
    assert.equal(await page.evaluate(`Math.min(...${distances}) > ${FOCUS_RING_PX}`), true, 'the ring of the focus covers nothing');
    assert.equal(await page.evaluate(AT_THE_RIGHT), true);
    await picture(page, 'token-refused');
    await enter('the-token-of-readers');
    await shows(page, 'for readers only');
    await page.goTo(app.privateUrl);
    await shows(page, 'for readers only');
    assert.equal(await page.evaluate('localStorage.length'), 0);
    use('another-token-of-readers');
    app.reload();
    await shows(page, 'A token is needed to read');
    assert.deepEqual(page.problems.filter((problem) => !problem.includes('status of 401')), []);
  });
});
