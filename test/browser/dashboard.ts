/** The page in a real browser: `make test-browser`. Every state is also written as a picture to .screenshots/. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { startTestApp, type TestApp } from '../support/app.ts';
import { readEvents } from '../support/event-stream.ts';
import { SECRET } from '../support/messages.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { waitFor } from '../support/wait.ts';
import { browserCommand, startBrowser, type Page, type Viewport } from './browser.ts';

const NARROW: Viewport = { width: 360, height: 780 };
const WIDE: Viewport = { width: 1600, height: 1000 };

if (browserCommand === undefined) throw new Error('no browser is installed here: install chromium, or set CHROMIUM to the command of one');
const newPage = await startBrowser({ after }, browserCommand);

async function open(t: TestContext, app: TestApp, viewport: Viewport = WIDE): Promise<Page> {
  const page = await newPage(t);
  await page.setViewport(viewport);
  await page.goTo(app.privateUrl);
  return page;
}

/** Stores messages numbered from `from`, an hour of time between each, some of them with a needle in the text. */
async function fill(app: TestApp, from: number, to: number): Promise<void> {
  for (let index = from; index < to; index += 1) {
    const ts = new Date(Date.UTC(2026, 0, 1) + index * 3_600_000).toISOString();
    const text = index % 10 === 0 ? `Invoice ${index} is due` : `Message number ${index}, with words`;
    await app.send({ message_id: `m${index}`, from: `+9198765432${10 + (index % 7)}`, ts, text });
  }
}

const ids = (page: Page) => page.evaluate("[...document.querySelectorAll('#list .id')].map((id) => id.textContent)");
const shows = (page: Page, text: string) => page.until(`document.body?.innerText.includes(${JSON.stringify(text)})`);
const setValue = (page: Page, id: string, value: string) => page.evaluate(`(() => {
  const field = document.getElementById(${JSON.stringify(id)});
  field.value = ${JSON.stringify(value)};
  field.dispatchEvent(new Event('input', { bubbles: true }));
})()`);
const click = (page: Page, id: string) => page.evaluate(`document.getElementById(${JSON.stringify(id)}).click()`);
const textOf = async (page: Page) => String(await page.evaluate('document.body.innerText'));
const fitsWidth = async (page: Page) => assert.equal(await page.evaluate('document.documentElement.scrollWidth <= innerWidth'), true);

describe('the page', () => {
  test('of an empty inbox says what to do first, and that command works as it is', async (t) => {
    const app = await startTestApp(t);
    const page = await open(t, app);
    await shows(page, 'The inbox is empty. Send a first message: the command is below.');
    await shows(page, 'Ready');
    await page.until("document.getElementById('sending').open");
    await page.screenshot('empty-wide');
    const command = String(await page.evaluate("document.getElementById('command').textContent"));
    const { stdout } = await promisify(execFile)('sh', ['-c', command], { env: { ...process.env, WEBHOOK_SECRET: SECRET } });
    assert.match(stdout, /^HTTP\/1\.1 200 OK/);
    await shows(page, 'Hello from curl');
    await page.until("document.getElementById('total').textContent === '1'");
    assert.deepEqual(page.problems, []);
  });

  test('shows a command for Standard Webhooks where that is what is accepted', async (t) => {
    const withoutPadding = `whsec_${Buffer.alloc(25, 7).toString('base64').replace(/=+$/, '')}`;
    for (const secret of ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', withoutPadding, 'a plain secret, long enough']) {
      const app = await startTestApp(t, { SIGNATURE_SCHEMES: 'standard-webhooks', WEBHOOK_SECRET: secret, PRIVATE_PORT: '0' });
      const page = await open(t, app);
      await page.until("document.getElementById('command').textContent.includes('webhook-signature')");
      const command = String(await page.evaluate("document.getElementById('command').textContent"));
      const { stdout } = await promisify(execFile)('sh', ['-c', command], { env: { ...process.env, WEBHOOK_SECRET: secret } });
      assert.match(stdout, /^HTTP\/1\.1 200 OK/);
      await shows(page, 'Hello from curl');
      assert.deepEqual(page.problems, []);
    }
  });

  test('shows the newest messages, and those that come while it is open', async (t) => {
    const app = await startTestApp(t);
    await fill(app, 0, 60);
    const page = await open(t, app);
    await page.until("document.getElementById('count').textContent === '60 messages'");
    assert.deepEqual(await ids(page), Array.from({ length: 25 }, (_, index) => `m${59 - index}`));
    await shows(page, 'Live');
    await app.send({ message_id: 'just now', text: 'arrived while the page is open' });
    await shows(page, 'arrived while the page is open');
    assert.equal(await page.evaluate("document.querySelector('#list li').classList.contains('new')"), true);
    await page.until("document.getElementById('total').textContent === '61'");
    await shows(page, '61 in all');
    await page.screenshot('list-wide');
    await page.setViewport({ ...WIDE, dark: true });
    await page.screenshot('list-wide-dark');
    await page.setViewport(NARROW);
    await fitsWidth(page);
    await page.screenshot('list-narrow');
    await page.setViewport({ ...NARROW, dark: true });
    await page.screenshot('list-narrow-dark');
    assert.deepEqual(page.problems, []);
  });

  test('finds by text while one types, by sender and by time, and goes from page to page', async (t) => {
    const app = await startTestApp(t);
    await fill(app, 0, 60);
    const page = await open(t, app);
    await page.until("document.getElementById('count').textContent === '60 messages'");

    await page.evaluate("document.getElementById('q').focus()");
    await page.type('INVOICE 4');
    await page.until("document.getElementById('count').textContent === '1 message'");
    assert.deepEqual(await ids(page), ['m40']);
    assert.equal(await page.evaluate("document.querySelector('mark').textContent"), 'Invoice 4');
    await page.screenshot('search');
    await app.send({ message_id: 'other', text: 'does not match' });
    await app.send({ message_id: 'late', text: 'invoice 4711' });
    await page.until("document.getElementById('count').textContent === '2 messages'");
    assert.deepEqual(await ids(page), ['late', 'm40']);

    await click(page, 'q');
    await page.evaluate("document.querySelector('#filters button[type=reset]').click()");
    await page.until("document.getElementById('count').textContent === '62 messages'");
    await page.until("document.querySelectorAll('#top-senders button').length === 7");
    await page.evaluate("document.querySelector('#top-senders button').click()");
    await page.until("document.getElementById('count').textContent.match(/^(9|1[0-9]) messages$/)");
    assert.equal(await page.evaluate("document.getElementById('from').value"), '+919876543210');
    await setValue(page, 'from', '');
    await setValue(page, 'since', '2026-01-03T00:00');
    await page.until("document.getElementById('count').textContent === '12 messages'");
    await setValue(page, 'q', 'nowhere to be found');
    await shows(page, 'No message matches. Clear the filters to see all.');
    await page.screenshot('nothing-found');

    await page.evaluate("document.querySelector('#filters button[type=reset]').click()");
    await page.until("document.getElementById('count').textContent === '62 messages'");
    const first = await ids(page);
    await click(page, 'older');
    await page.until("document.getElementById('count').textContent === '62 messages, page 2'");
    await app.send({ message_id: 'meanwhile' });
    await shows(page, 'Show 1 new');
    await click(page, 'older');
    await page.until("document.getElementById('count').textContent === '62 messages, page 3' || document.getElementById('count').textContent === '63 messages, page 3'");
    assert.equal(await page.evaluate("document.getElementById('older').disabled"), true);
    await page.screenshot('last-page');
    await click(page, 'newer');
    await click(page, 'newer');
    await page.until("document.getElementById('newer').disabled");
    assert.deepEqual((await ids(page) as string[]).filter((id) => id !== 'meanwhile').slice(0, 20), (first as string[]).slice(0, 20));
    assert.deepEqual(page.problems, []);
  });

  test('shows text as text, whatever it holds', async (t) => {
    const app = await startTestApp(t);
    const texts = ['<img src=x onerror="document.title=\'owned\'">', '<script>document.title="owned"</script>', '\u202eright to left', '"\'&<>\n  second line', 'x'.repeat(4096), '😀'.repeat(500)];
    for (const [index, text] of texts.entries()) await app.send({ message_id: `<b>${index}</b>`, text });
    const page = await open(t, app, NARROW);
    await page.until(`document.querySelectorAll('#list li').length === ${texts.length}`);
    assert.deepEqual(new Set(await page.evaluate("[...document.querySelectorAll('#list .text')].map((text) => text.textContent)") as string[]), new Set(texts));
    await app.send({ message_id: 'live', text: texts[0] ?? '' });
    await page.until(`document.querySelectorAll('#list li').length === ${texts.length + 1}`);
    await setValue(page, 'q', '<IMG');
    await page.until("document.querySelectorAll('mark').length === 2");
    assert.equal(await page.evaluate("document.querySelectorAll('#list img, #list script, #list b').length"), 0);
    assert.equal(await page.evaluate('document.title'), 'webhook-inbox');
    await fitsWidth(page);
    await page.screenshot('hostile-text-narrow');
    assert.deepEqual(page.problems, []);
  });

  test('is usable with the keyboard alone', async (t) => {
    const app = await startTestApp(t);
    await fill(app, 0, 30);
    const page = await open(t, app);
    await page.until("document.getElementById('count').textContent === '30 messages'");
    const reached: unknown[] = [];
    for (let count = 0; count < 20; count += 1) {
      await page.press('Tab');
      reached.push(await page.evaluate("document.activeElement.id || document.activeElement.className || document.activeElement.textContent"));
    }
    assert.equal(reached[0], 'skip');
    for (const id of ['q', 'from', 'since', 'older']) assert.ok(reached.includes(id), `${id} is not among ${reached.join()}`);
    await page.evaluate("document.getElementById('older').focus()");
    await page.press('Enter');
    await page.until("document.getElementById('count').textContent === '30 messages, page 2'");
    const unnamed = await page.evaluate(`[...document.querySelectorAll('button, input, [role=img]')].filter((one) =>
      !(one.textContent.trim() || one.labels?.length || one.getAttribute('aria-label'))).map((one) => one.outerHTML)`);
    assert.deepEqual(unnamed, []);
    assert.deepEqual(page.problems, []);
  });

  test('tells that the service is not ready, why, and that it has gone', async (t) => {
    const app = await startTestApp(t, { WEBHOOK_SECRET: '' });
    const page = await open(t, app);
    await shows(page, 'Not ready: no secret is set');
    await shows(page, 'The inbox is empty.');
    assert.doesNotMatch(await textOf(page), /Send a first message/);
    assert.equal(await page.evaluate("document.getElementById('sending').open"), false);
    await page.screenshot('not-ready');
    await app.stop();
    await shows(page, 'The service does not answer');
    await shows(page, 'Not connected, trying again');
    await page.screenshot('gone');
  });

  test('tells no longer that the service does not answer once it does, and shows what it had to leave out', async (t) => {
    const databasePath = join(temporaryFolder(t), 'app.db');
    const before = await startTestApp(t, { DATABASE_URL: databasePath });
    await fill(before, 0, 30);
    const page = await open(t, before);
    await page.until("document.getElementById('count').textContent === '30 messages'");
    await shows(page, 'Live');
    await before.stop();
    await setValue(page, 'q', 'invoice');
    await page.until("document.getElementById('problem').textContent === 'The service does not answer.'");
    await shows(page, 'Not connected, trying again');
    const again = await startTestApp(t, { DATABASE_URL: databasePath, PORT: String(before.port) });
    await shows(page, 'Live');
    await page.until("document.getElementById('problem').textContent === ''");
    assert.deepEqual(await ids(page), ['m20', 'm10', 'm0']);
    await again.send({ message_id: 'after', text: 'an invoice again' });
    await shows(page, 'an invoice again');
    await page.until("document.getElementById('readiness').textContent === 'Ready'");
  });

  test('is live only once the stream has answered, and tells so', async (t) => {
    const app = await startTestApp(t, { MAX_STREAMS: '1' });
    // Not with fetch: it closes the connection of an answer that nobody reads, once that is collected as garbage.
    const taken = await readEvents(t, `${app.url}/messages/stream`);
    assert.equal(taken.status, 200);
    await fill(app, 0, 3);
    const page = await open(t, app);
    await page.until("document.getElementById('count').textContent === '3 messages'");
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

  test('takes in of what arrives only what is filtered for', async (t) => {
    const app = await startTestApp(t);
    await fill(app, 0, 30);
    const page = await open(t, app);
    await shows(page, 'Live');
    for (const [field, value, wanted] of [
      ['from', '+12', { from: '+12' }], ['since', '2030-01-01T00:00', { ts: '2030-01-01T00:00:00Z' }], ['q', 'ÉcLaIr', { text: 'an ÉCLAIR' }],
    ] as const) {
      await setValue(page, field, value);
      await page.until("document.getElementById('count').textContent === '0 messages'");
      await app.send({ message_id: `not ${field}`, text: 'an éclair' });
      await app.send({ message_id: field, ...wanted });
      await page.until("document.getElementById('count').textContent === '1 message'");
      assert.deepEqual(await ids(page), [field]);
      await setValue(page, field, '');
      await page.until("document.getElementById('count').textContent !== '1 message'");
    }
    assert.deepEqual(page.problems, []);
  });

  test('asks for a token where one is needed, keeps it for the tab, and asks again when it is revoked', async (t) => {
    const file = join(temporaryFolder(t), 'token');
    const use = (token: string) => writeFileSync(file, token);
    use('the-token-of-readers');
    const app = await startTestApp(t, { READ_TOKEN_FILE: file, PRIVATE_PORT: '0' });
    await app.send({ message_id: 'secret', text: 'for readers only' });
    const page = await open(t, app);
    await shows(page, 'A token is needed to read');
    assert.doesNotMatch(String(await page.evaluate('document.documentElement.outerHTML')), /for readers only/);
    await page.screenshot('token-needed');
    const enter = async (token: string) => {
      await page.until("document.activeElement.id === 'token'");
      await page.type(token);
      await page.press('Enter');
    };
    await enter('wrong');
    await shows(page, 'That token is not accepted.');
    await page.screenshot('token-refused');
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

describe('the page in several windows and tabs of one browser', () => {
  async function openBeside(t: TestContext, app: TestApp, beside: Page | undefined, as: 'window' | 'tab'): Promise<Page> {
    const page = await newPage(t, beside, as);
    await page.goTo(app.privateUrl);
    return page;
  }
  const isLive = (page: Page) => page.until("document.getElementById('connection').textContent === 'Live'");
  const streams = (app: TestApp, count: number) => waitFor(`${count} streams`, async () => await app.metric('message_streams_open') === count);

  test('is live in each of eight windows by one stream, which another one reads on when its reader is closed', async (t) => {
    const app = await startTestApp(t);
    await fill(app, 0, 30);
    const pages: Page[] = [];
    for (let count = 0; count < 8; count += 1) pages.push(await openBeside(t, app, pages[0], 'window'));
    for (const page of pages) await isLive(page);
    await streams(app, 1);
    await app.send({ message_id: 'to all', text: 'seen in every window' });
    for (const page of pages) await shows(page, 'seen in every window');
    await setValue(pages[2] as Page, 'q', 'invoice');
    await (pages[2] as Page).until("document.getElementById('count').textContent === '3 messages'");

    while (pages.length > 2) {
      const message_id = `after ${pages.length}`;
      await pages.shift()?.close();
      await app.send({ message_id, text: `an Invoice, while ${pages.length} are open` });
      for (const page of pages) await page.until(`[...document.querySelectorAll('#list .id')].some((id) => id.textContent === '${message_id}')`);
    }
    for (const page of pages) {
      await isLive(page);
      assert.deepEqual(page.problems, []);
    }
    await streams(app, 1);
  });

  test('reads no stream for a tab that is hidden, and has what came meanwhile when that is shown again', async (t) => {
    const app = await startTestApp(t);
    await fill(app, 0, 30);
    const pages: Page[] = [];
    for (let count = 0; count < 8; count += 1) pages.push(await openBeside(t, app, pages[0], 'tab'));
    const [first, last] = [pages[0] as Page, pages[7] as Page];
    assert.deepEqual([await first.evaluate('document.hidden'), await last.evaluate('document.hidden')], [true, false]);
    await isLive(last);
    await streams(app, 1);
    await app.send({ message_id: 'meanwhile', text: 'while the first is hidden' });
    await shows(last, 'while the first is hidden');
    await first.show();
    await shows(first, 'while the first is hidden');
    await isLive(first);
    await first.goTo('about:blank');
    await streams(app, 0);
    await app.send({ message_id: 'unread', text: 'while none is shown' });
    await last.show();
    await shows(last, 'while none is shown');
    assert.deepEqual((await ids(last) as string[]).slice(0, 2), ['unread', 'meanwhile']);
    await streams(app, 1);
    for (const page of pages) assert.deepEqual(page.problems, []);
  });

  test('shows nothing in one that has no token of what another one reads by its own', async (t) => {
    const app = await startTestApp(t, { READ_TOKEN: 'the-token-of-readers' });
    const reader = await openBeside(t, app, undefined, 'window');
    await reader.until("document.activeElement.id === 'token'");
    await reader.type('the-token-of-readers');
    await reader.press('Enter');
    await isLive(reader);
    const other = await openBeside(t, app, reader, 'window');
    await shows(other, 'A token is needed to read');
    await app.send({ text: 'for readers only' });
    await shows(reader, 'for readers only');
    assert.doesNotMatch(String(await other.evaluate('document.documentElement.outerHTML')), /for readers only/);
    assert.equal(await other.evaluate("document.getElementById('connection').textContent"), 'Not connected');
  });

  test('is live where a browser has no locks, over plain HTTP to another machine', async (t) => {
    const app = await startTestApp(t);
    const pages: Page[] = [];
    for (let count = 0; count < 2; count += 1) {
      const page = await newPage(t, pages[0], 'window');
      await page.goTo(`http://inbox.internal:${app.port}`);
      pages.push(page);
    }
    for (const page of pages) {
      assert.equal(await page.evaluate('isSecureContext'), false);
      await isLive(page);
    }
    await app.send({ text: 'seen in both' });
    for (const page of pages) {
      await shows(page, 'seen in both');
      await page.until("document.getElementById('count').textContent === '1 message'");
    }
  });
});

describe('a page elsewhere', () => {
  test('can lead to this one, and have no search made', async (t) => {
    const app = await startTestApp(t);
    await app.send({ text: 'a text with hello' });
    const elsewhere = await startTestApp(t);
    const page = await newPage(t);
    // A document without a content security policy, of another site.
    await page.goTo(`http://localhost:${elsewhere.port}/health/live`);
    await page.evaluate(`fetch('${app.url}/messages?q=hello', { mode: 'no-cors' }).catch(() => {}).then(() => {})`);
    await waitFor('its request', () => app.logs.some(({ path, status }) => path === '/messages' && status === 403));
    await page.evaluate(`location = '${app.url}'`);
    await shows(page, 'a text with hello');
  });

  test('reads no message under a name of its own, and the page says what to set', async (t) => {
    const app = await startTestApp(t);
    await app.send({ text: 'not for strangers' });
    const page = await newPage(t);
    await page.goTo(`http://rebound.example.com:${app.port}`);
    await shows(page, 'ALLOWED_HOSTS');
    await shows(page, 'Not connected, trying again');
    assert.doesNotMatch(String(await page.evaluate('document.documentElement.outerHTML')), /not for strangers/);
    await page.screenshot('unknown-host');
  });
});
