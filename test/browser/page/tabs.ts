/** Several windows and tabs of one browser, which share one stream, and pages of other sites. */
import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { waitFor } from '../../support/wait.ts';
import type { Page } from '../browser.ts';
import { fill, ids, newPage, picture, says, setValue, shows } from '../support.ts';

/** The `ts` of a message that stands on top, whether it comes by the stream or a list is asked for again. */
const now = () => new Date().toISOString();

describe('the page in several windows and tabs of one browser', () => {
  async function openBeside(t: TestContext, app: TestApp, beside: Page | undefined, as: 'window' | 'tab'): Promise<Page> {
    const page = await newPage(t, beside, as);
    await page.goTo(app.privateUrl);
    return page;
  }
  const isLive = (page: Page) => says(page, 'connection', 'Live');
  const streams = (app: TestApp, count: number) => waitFor(`${count} streams`, async () => await app.metric('message_streams_open') === count);

  test('is live in each of eight windows by one stream, which another one reads on when its reader is closed', async (t) => {
    const app = await startTestApp(t);
    await fill(app, 0, 30);
    const pages: Page[] = [];
    for (let count = 0; count < 8; count += 1) pages.push(await openBeside(t, app, pages[0], 'window'));
    for (const page of pages) await isLive(page);
    await streams(app, 1);
    await app.send({ ts: now(), message_id: 'to all', text: 'seen in every window' });
    for (const page of pages) await shows(page, 'seen in every window');
    await setValue(pages[2] as Page, 'q', 'invoice');
    await says(pages[2] as Page, 'count', '3 messages');

    while (pages.length > 2) {
      const message_id = `after ${pages.length}`;
      await pages.shift()?.close();
      await app.send({ ts: now(), message_id, text: `an Invoice, while ${pages.length} are open` });
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
    await app.send({ ts: now(), message_id: 'meanwhile', text: 'while the first is hidden' });
    await shows(last, 'while the first is hidden');
    await first.show();
    await shows(first, 'while the first is hidden');
    await isLive(first);
    await first.goTo('about:blank');
    await streams(app, 0);
    await app.send({ ts: now(), message_id: 'unread', text: 'while none is shown' });
    await last.show();
    await shows(last, 'while none is shown');
    assert.deepEqual((await ids(last)).slice(0, 2), ['unread', 'meanwhile']);
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
    await app.send({ ts: now(), text: 'for readers only' });
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
    await app.send({ ts: now(), text: 'seen in both' });
    for (const page of pages) {
      await shows(page, 'seen in both');
      await says(page, 'count', '1 message');
    }
  });
});

describe('a page elsewhere', () => {
  test('can lead to this one, and have no search made', async (t) => {
    const app = await startTestApp(t);
    await app.send({ ts: now(), text: 'a text with hello' });
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
    await app.send({ ts: now(), text: 'not for strangers' });
    const page = await newPage(t);
    await page.goTo(`http://rebound.example.com:${app.port}`);
    await shows(page, 'ALLOWED_HOSTS');
    await shows(page, 'Not connected, trying again');
    assert.match(String(await page.evaluate("document.getElementById('problem').textContent")), /^[A-Z].*\.$/);
    assert.doesNotMatch(String(await page.evaluate('document.documentElement.outerHTML')), /not for strangers/);
    await picture(page, 'unknown-host');
  });
});
