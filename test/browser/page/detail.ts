/** One message in detail, and the address, which says all that is shown. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { startTestApp } from '../../support/app.ts';
import type { Page } from '../browser.ts';
import { click, focused, fragmentOf, ids, isLive, open, picture, says, setValue, shows, startFilled, textOf } from '../support.ts';

const isOpen = (page: Page) => page.until("document.getElementById('detail').open && !document.getElementById('detail-body').hidden");
const isClosed = (page: Page) => page.until("!document.getElementById('detail').open");
const rowOf = (id: string) => `#list li[data-message="${id}"] a.open`;

describe('a message in detail', () => {
  test('has all that is known of it, as it is stored', async (t) => {
    const app = await startTestApp(t);
    const text = 'first line\n  second line <b>bold</b>';
    await app.send({ message_id: 'a/b?c=d&e#f %+ü', text, ts: '2026-01-02T03:04:05.678Z' });
    const page = await open(t, app);
    await says(page, 'count', '1 message');
    await click(page, '#list a.open');
    await isOpen(page);
    const { items: [stored] }: { items: object[] } = JSON.parse(await (await app.get('/messages?fields=received_at,sequence')).text());
    assert.deepEqual(JSON.parse(String(await textOf(page, 'detail-json'))), stored);
    assert.equal(await textOf(page, 'detail-text'), text);
    const { received_at = '' }: { received_at?: string } = stored ?? {};
    for (const told of ['a/b?c=d&e#f %+ü', '+919876543210', '+14155550100', '2026-01-02 03:04:05.678 UTC', received_at.replace('T', ' ').replace('Z', ' UTC')]) {
      assert.ok(String(await textOf(page, 'detail-fields')).includes(told), told);
    }
    await picture(page, 'detail');

    const link = String(await page.evaluate("document.getElementById('detail-link').href"));
    const another = await open(t, app);
    await another.goTo('about:blank');
    await another.goTo(link);
    await isOpen(another);
    assert.equal(await textOf(another, 'detail-text'), text);
    for (const each of [page, another]) assert.deepEqual(each.problems, []);
  });

  test('is copied, and its link', async (t) => {
    const app = await startTestApp(t);
    await app.send({ message_id: 'copied' });
    const page = await open(t, app, '#message=copied');
    await isOpen(page);
    await page.evaluate("navigator.clipboard.writeText = async (text) => { window.copied = text; }");
    await click(page, '#detail-copy');
    await says(page, 'detail-copied', 'Copied');
    assert.equal(await page.evaluate('copied'), await textOf(page, 'detail-json'));
    await click(page, '#detail-copy-link');
    await page.until("copied.endsWith('/#message=copied')");
    // As over plain HTTP from another machine.
    await page.evaluate("navigator.clipboard.writeText = async () => { throw new Error('not allowed'); }");
    await click(page, '#detail-copy');
    await says(page, 'detail-copied', 'Selected: copy it with the keyboard');
    assert.equal(await page.evaluate('getSelection().toString()'), await textOf(page, 'detail-json'));
    assert.deepEqual(page.problems, []);
  });

  test('is one step back from the list that it was opened from', async (t) => {
    const app = await startFilled(t, 30);
    const page = await open(t, app, '#q=invoice');
    await says(page, 'count', '3 messages');
    await click(page, rowOf('m10'));
    await isOpen(page);
    assert.equal(await fragmentOf(page), '#q=invoice&message=m10');
    await page.evaluate('history.back()');
    await isClosed(page);
    await page.until("location.hash === '#q=invoice'");
    await page.evaluate('history.forward()');
    await isOpen(page);
    await click(page, '#detail-close');
    await isClosed(page);
    await page.until("location.hash === '#q=invoice'");
    assert.deepEqual(await ids(page), ['m20', 'm10', 'm0']);
    // Closing was that step back, and none further.
    await page.evaluate('history.forward()');
    await isOpen(page);
    assert.deepEqual(page.problems, []);
  });

  test('opens and closes with the keyboard alone, and the focus returns to its row', async (t) => {
    const app = await startFilled(t, 30);
    const page = await open(t, app);
    await says(page, 'count', '30 messages');
    await isLive(page, app);
    await page.evaluate(`document.querySelector('${rowOf('m29')}').focus()`);
    await page.press('ArrowDown');
    await page.press('ArrowDown');
    assert.equal(await focused(page), 'open: Message number 27, with words');
    await page.press('Enter');
    await isOpen(page);
    assert.equal(await page.evaluate("document.getElementById('detail').contains(document.activeElement)"), true);
    // The list is made anew meanwhile, and the focus returns all the same.
    await app.send({ message_id: 'meanwhile' });
    await page.until("document.querySelector('#list li').dataset.message === 'meanwhile'");
    await page.press('Escape');
    await isClosed(page);
    await page.until("document.activeElement.className === 'open'");
    assert.equal(await focused(page), 'open: Message number 27, with words');
    assert.equal(await fragmentOf(page), '');
    assert.deepEqual(page.problems, []);
  });

  test('says that there is none with an id that is not stored', async (t) => {
    const app = await startFilled(t, 3);
    const page = await open(t, app, '#message=erased');
    await shows(page, 'There is no message with this id. It may have been erased, or have expired.');
    await picture(page, 'detail-none');
    await page.press('Escape');
    await isClosed(page);
    await page.until("location.hash === ''");
    await says(page, 'count', '3 messages');
    assert.deepEqual(page.problems, []);
  });
});

describe('the address', () => {
  test('has what is filtered for, through a reload, back and forth', async (t) => {
    const app = await startFilled(t, 60);
    const page = await open(t, app);
    await says(page, 'count', '60 messages');
    await setValue(page, 'q', 'invoice');
    await says(page, 'count', '6 messages');
    await setValue(page, 'q', 'invoice 4');
    await says(page, 'count', '1 message');
    await setValue(page, 'since', '2026-01-01T00:00');
    await page.until("location.hash === '#q=invoice+4&since=2026-01-01T00%3A00'");
    await page.reload();
    await says(page, 'count', '1 message');
    assert.equal(await page.evaluate("document.getElementById('q').value"), 'invoice 4');
    assert.equal(await page.evaluate("document.getElementById('since').value"), '2026-01-01T00:00');
    assert.deepEqual(await ids(page), ['m40']);
    await page.evaluate('history.back()');
    await says(page, 'count', '60 messages');
    assert.equal(await page.evaluate("document.getElementById('q').value"), '');
    assert.deepEqual(page.problems, []);
  });

  test('takes a number as it is written by hand', async (t) => {
    const app = await startFilled(t, 14);
    const page = await open(t, app, '#from=+919876543212');
    await says(page, 'count', '2 messages');
    assert.equal(await page.evaluate("document.getElementById('from').value"), '+919876543212');
  });

  test('is changed by a sender wherever that stands', async (t) => {
    const app = await startFilled(t, 14);
    const page = await open(t, app);
    for (const where of ['#list li:nth-child(3) a.sender', '#top-senders a.sender', '#detail a.sender']) {
      await says(page, 'count', '14 messages');
      if (where.startsWith('#detail')) {
        await click(page, '#list a.open');
        await isOpen(page);
      }
      await page.until(`document.querySelector('${where}')`);
      const sender = String(await page.evaluate(`document.querySelector('${where}').textContent`));
      await click(page, where);
      await says(page, 'count', '2 messages');
      await isClosed(page);
      assert.equal(await fragmentOf(page), `#from=${encodeURIComponent(sender)}`);
      await click(page, '#filters button[type=reset]');
    }
    assert.deepEqual(page.problems, []);
  });

  test('has nothing of it where a server or a proxy would log it', async (t) => {
    const app = await startFilled(t, 3);
    const page = await open(t, app);
    await setValue(page, 'from', '+919876543211');
    await says(page, 'count', '1 message');
    await click(page, rowOf('m1'));
    await isOpen(page);
    assert.equal(await page.evaluate('location.pathname + location.search'), '/');
    assert.equal(await fragmentOf(page), '#from=%2B919876543211&message=m1');
  });
});
