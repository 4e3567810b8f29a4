/** What was refused: shown with its cause and with what to do about it. */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { describe, test } from 'node:test';
import { startTestApp } from '../../support/app.ts';
import { message, sign } from '../../support/messages.ts';
import { waitFor } from '../../support/wait.ts';
import type { Page } from '../browser.ts';
import { click, open, picture, says, shows, WIDE } from '../support.ts';

/** The title of each cause that is shown, with what is said of it. */
const causes = async (page: Page): Promise<readonly { title: string; text: string }[]> => JSON.parse(String(await page.evaluate(`JSON.stringify(
  [...document.querySelectorAll('#causes > li')].map((cause) => ({ title: cause.querySelector('h3').textContent, text: cause.textContent })))`)));

describe('the refused requests', () => {
  test('of a sender with a wrong secret lead from the empty list to the cause', async (t) => {
    const app = await startTestApp(t);
    const page = await open(t, app);
    await shows(page, 'The inbox is empty.');
    const body = JSON.stringify(message());
    for (let count = 0; count < 3; count += 1) await app.post(body, { 'X-Signature': sign(body, 'another secret') });
    await says(page, 'refused-count', '3');
    await shows(page, '3 refused: see why.');
    await picture(page, 'empty-refused');
    await click(page, '#empty a');
    await page.until("!document.getElementById('refused-view').hidden");
    assert.equal(await page.evaluate("document.getElementById('messages-view').hidden"), true);
    const [cause, ...more] = await causes(page);
    assert.deepEqual([cause?.title, more.length], ['The signature does not match', 0]);
    assert.match(cause?.text ?? '', /status 401 · 3 times, last .*, from 127\.0\.0\.1.*Compare the secret on both sides/);
    assert.equal(await page.evaluate("document.querySelectorAll('#refusals-list tr').length"), 3);
    assert.equal(await page.evaluate('document.title'), 'Refused requests – webhook-inbox');
    await page.evaluate('history.back()');
    await shows(page, 'The inbox is empty.');
    assert.deepEqual(page.problems, []);
  });

  test('of all kinds stand together by their cause, the latest first', async (t) => {
    const app = await startTestApp(t);
    const post = (body: string, headers: Record<string, string>) => fetch(`${app.url}/webhook`, { method: 'POST', body, headers });
    const body = JSON.stringify(message());
    await post(body, {});
    await post(body, { 'X-Signature': 'c2lnbmF0dXJl' });
    await app.post(body, { 'Content-Encoding': 'gzip' });
    await app.post('x'.repeat(70_000));
    await app.post('not JSON');
    await app.send({ from: '98765', ts: '2026-01-01 10:00:00', message_id: '' });
    const socket = connect(app.port, '127.0.0.1', () => socket.end('no HTTP at all\r\n\r\n'));
    socket.resume();
    await waitFor('the refusal', () => app.logs.some(({ event, reason }) => event === 'request' && reason === 'malformed'));
    const page = await open(t, app, '#view=refused');
    await page.until("document.querySelectorAll('#causes > li').length === 7");
    const shown = await causes(page);
    assert.deepEqual(shown.map(({ title }) => title), [
      'Not HTTP/1.1', 'The message is not valid', 'The message is not valid', 'The body is too large', 'The body is compressed',
      'The signature has a wrong form', 'No signature',
    ]);
    assert.match(shown[1]?.text ?? '', /message_id has to have at least 1 character.*from has to be a number with \+.*ts has to be a UTC time such as/);
    assert.match(shown[6]?.text ?? '', /a header that is accepted here \(X-Signature\)/);
    for (const width of [360, 500, 768, 1280]) {
      await page.setViewport({ width, height: 800 });
      assert.equal(await page.evaluate("(({ scrollWidth, clientWidth }) => scrollWidth <= clientWidth)(document.getElementById('refusals'))"), true,
        `the table fits ${width} pixels`);
      const table = (await page.accessibilityTree()).filter(({ role }) => role === 'columnheader' || role === 'row' || role === 'cell');
      assert.equal(table.length, 5 + 8 + 7 * 5, `it is a table in ${width} pixels`);
    }
    assert.match(String(await page.evaluate("document.querySelector('#refusals-list tr:nth-child(2) td:nth-child(3)').title")),
      /^The message is not valid; .*from has to be a number/);
    await picture(page, 'refused');
    await page.setViewport({ width: 500, height: 800 });
    await page.evaluate("document.getElementById('refusals').scrollIntoView()");
    await page.screenshot('refused-table-500');
    await page.setViewport({ ...WIDE, height: 1600 });
    await page.screenshot('refused-table-1280');
    // One that comes while it is looked at is shown by itself, and moves its cause to the top.
    await post(body, {});
    await page.until("document.querySelector('#causes h3').textContent === 'No signature'");
    assert.match((await causes(page))[0]?.text ?? '', /status 401 · twice, last /);
    assert.deepEqual(page.problems, []);
  });

  test('are the last ones where there are many', async (t) => {
    const app = await startTestApp(t);
    await app.post('not JSON');
    for (let count = 0; count < 205; count += 1) await app.post('{}', { 'X-Signature': 'wrong' });
    const page = await open(t, app, '#view=refused');
    await says(page, 'refused-count', '200+');
    await says(page, 'refused-summary', 'The last 200');
    assert.deepEqual((await causes(page)).map(({ title }) => title), ['The signature has a wrong form']);
    assert.equal(await page.evaluate("document.querySelectorAll('#refusals-list tr').length"), 200);
    assert.deepEqual(page.problems, []);
  });

  test('are counted until they have been looked at', async (t) => {
    const app = await startTestApp(t);
    const refuse = () => app.post('{}', { 'X-Signature': 'wrong' });
    await refuse();
    await refuse();
    const page = await open(t, app);
    await says(page, 'refused-count', '2');
    await click(page, '#view-refused');
    await page.until("!document.getElementById('refused-view').hidden");
    assert.equal(await page.evaluate("document.getElementById('refused-count').textContent"), '2');
    await click(page, '#view-messages');
    await page.until("!document.getElementById('messages-view').hidden");
    assert.equal(await page.evaluate("document.getElementById('view-refused').textContent.trim()"), 'Refused');
    await shows(page, '2 refused: see why.');
    await page.reload();
    await shows(page, '2 refused: see why.');
    assert.equal(await page.evaluate("document.getElementById('refused-count').textContent"), '');
    await refuse();
    await says(page, 'refused-count', '1');
    await click(page, '#view-refused');
    await page.until("document.querySelectorAll('#refusals-list tr').length === 3");
    await page.reload();
    await shows(page, 'All since the service started');
    assert.equal(await page.evaluate("document.getElementById('refused-count').textContent"), '');
    assert.deepEqual(page.problems, []);
  });

  test('are none at first', async (t) => {
    const app = await startTestApp(t);
    const page = await open(t, app, '#view=refused');
    await shows(page, 'Nothing was refused since this service started.');
    assert.equal(await page.evaluate("document.getElementById('refused-count').textContent"), '');
    const gaps = await page.evaluate(`(({ children: [heading, ...parts] }) => {
      const below = parts.find((part) => part.offsetHeight > 0);
      return below.getBoundingClientRect().top - heading.getBoundingClientRect().bottom - parseFloat(getComputedStyle(below.parentElement).rowGap);
    })(document.getElementById('refused-view'))`);
    assert.ok(Number(gaps) < 1, `no gap but one is below the heading: ${gaps}`);
    await picture(page, 'refused-none');
    assert.deepEqual(page.problems, []);
  });

  test('are shown to readers alone', async (t) => {
    const app = await startTestApp(t, { READ_TOKEN: 'the-token-of-readers' });
    await app.post('{}', { 'X-Signature': 'wrong' });
    const page = await open(t, app, '#view=refused');
    await page.until("document.activeElement.id === 'token'");
    assert.equal(await page.evaluate("document.querySelectorAll('#causes > li').length"), 0);
    await page.type('the-token-of-readers');
    await page.press('Enter');
    await shows(page, 'The signature has a wrong form');
    assert.deepEqual(page.problems.filter((problem) => !problem.includes('status of 401')), []);
  });
});
