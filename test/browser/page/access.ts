/** The page without a mouse and without eyes: the keyboard, and what the browser tells assistive technology. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { AccessibleNode, Page } from '../browser.ts';
import { focused, open, picture, says, setValue, shows, startFilled } from '../support.ts';

const named = (nodes: readonly AccessibleNode[], role: string) => nodes.filter((node) => node.role === role).map(({ name }) => name);
const INTERACTIVE = new Set(['button', 'link', 'textbox', 'searchbox', 'InputTime', 'Date', 'DateTime', 'checkbox', 'DisclosureTriangle']);

function assertNamed(nodes: readonly AccessibleNode[]): void {
  for (const { role, name } of nodes.filter((node) => INTERACTIVE.has(node.role))) assert.notEqual(name, '', `a ${role} has a name`);
  assert.deepEqual(nodes.filter(({ role }) => role === 'heading').filter(({ properties }) => properties['level'] === 1).length, 1, 'one h1');
}

/** What has the focus after each of so many presses of the tab key. */
async function tabThrough(page: Page, presses: number): Promise<readonly string[]> {
  const reached: string[] = [];
  for (let count = 0; count < presses; count += 1) {
    await page.press('Tab');
    reached.push(await focused(page));
  }
  return reached;
}

describe('assistive technology', () => {
  test('is told of landmarks, headings, the list and what is live', async (t) => {
    const app = await startFilled(t, 30);
    const page = await open(t, app);
    await says(page, 'count', '30 messages');
    await shows(page, 'Live');
    await page.until("document.querySelectorAll('#top-senders li').length === 7");
    const nodes = await page.accessibilityTree();
    assertNamed(nodes);
    for (const role of ['banner', 'main', 'contentinfo', 'search']) assert.equal(named(nodes, role).length, 1, role);
    assert.deepEqual(named(nodes, 'navigation'), ['Views', 'Pages']);
    const headings = ['webhook-inbox', 'Newest messages', 'Messages', 'Received, last hour', 'Top senders of 7'];
    assert.deepEqual(named(nodes, 'heading').toSorted(), headings.toSorted());
    assert.ok(named(nodes, 'list').includes('Newest messages'));
    assert.equal(named(nodes, 'listitem').length, 25 + 7 + 6);
    assert.ok(named(nodes, 'link').includes('Message from +919876543211: Message number 29, with words'));
    assert.deepEqual(named(nodes, 'searchbox'), ['Search in the text', 'Sender, exactly']);
    const live = nodes.filter(({ role }) => role === 'status');
    assert.ok(live.length > 2);
    assert.deepEqual(named(nodes, 'alert'), []);
    for (const { properties } of live) assert.equal(properties['live'], 'polite');
    const [current] = nodes.filter(({ role, name }) => role === 'link' && name === 'Messages');
    assert.notEqual(current, undefined);
    assert.equal(await page.evaluate("document.querySelector('#views [aria-current=page]').id"), 'view-messages');
  });

  test('is told why a sender can be none, at its field', async (t) => {
    const app = await startFilled(t, 3);
    const page = await open(t, app);
    await says(page, 'count', '3 messages');
    await setValue(page, 'from', 'nobody');
    await page.until("document.getElementById('from-problem').textContent !== ''");
    const [field] = (await page.accessibilityTree()).filter(({ name }) => name === 'Sender, exactly');
    assert.equal(field?.properties['invalid'], 'true');
    assert.equal(await page.evaluate("document.getElementById('from').getAttribute('aria-describedby')"), 'from-problem');
  });

  test('is told of a message in detail as a dialog, and of nothing behind it', async (t) => {
    const app = await startFilled(t, 3);
    const page = await open(t, app, '#message=m1');
    await page.until("document.getElementById('detail').open && !document.getElementById('detail-body').hidden");
    const nodes = await page.accessibilityTree();
    assert.deepEqual(named(nodes, 'dialog'), ['Message']);
    assert.equal(nodes.find(({ role }) => role === 'dialog')?.properties['modal'], true);
    assert.ok(named(nodes, 'button').includes('Close'));
    assert.ok(!named(nodes, 'button').includes('Pause'));
  });

  test('is told of the refused requests as a table with headers', async (t) => {
    const app = await startFilled(t, 3);
    await app.post('{}', { 'X-Signature': 'wrong' });
    const page = await open(t, app, '#view=refused');
    await page.until("document.querySelectorAll('#causes > li').length === 1");
    const nodes = await page.accessibilityTree();
    assertNamed(nodes);
    assert.deepEqual(named(nodes, 'columnheader'), ['When', 'Status', 'Cause', 'From address', 'Request']);
    assert.equal(named(nodes, 'row').length, 2);
    assert.ok(named(nodes, 'list').includes('Causes, and what to do'));
    assert.ok(named(nodes, 'link').includes('Refused 1'));
    assert.deepEqual(named(nodes, 'search'), []);
  });
});

describe('the keyboard alone', () => {
  test('reaches everything in the order in which it stands', async (t) => {
    const app = await startFilled(t, 30);
    const page = await open(t, app);
    await says(page, 'count', '30 messages');
    const reached = await tabThrough(page, 24);
    assert.deepEqual(reached.slice(0, 5), ['skip: Skip to the content', 'view-messages', 'view-refused', 'q', 'from']);
    for (const id of ['since', 'older', 'pause', 'sender: +919876543211', 'open: Message number 29, with words']) {
      assert.ok(reached.includes(id), `${id} is not among ${reached.join()}`);
    }
    assert.ok(reached.indexOf('since') < reached.indexOf('older'));
    assert.ok(reached.indexOf('pause') < reached.indexOf('open: Message number 29, with words'));
    const there = await focused(page);
    await page.press('Tab', 'shift');
    assert.notEqual(await focused(page), there);
    await picture(page, 'focus');
    await page.evaluate("document.getElementById('older').focus()");
    await page.press('Enter');
    await says(page, 'count', '30 messages, page 2');
    assert.deepEqual(page.problems, []);
  });

  test('skips to the content, and the filters stay', async (t) => {
    const app = await startFilled(t, 30);
    const page = await open(t, app, '#q=invoice');
    await says(page, 'count', '3 messages');
    await page.press('Tab');
    await page.press('Enter');
    assert.equal(await focused(page), 'main');
    assert.equal(await page.evaluate('location.hash'), '#q=invoice');
    await page.press('Tab');
    assert.equal(await focused(page), 'q');
  });

  test('goes to the refused requests and back', async (t) => {
    const app = await startFilled(t, 3);
    const page = await open(t, app, '#q=words');
    await says(page, 'count', '2 messages');
    await page.evaluate("document.getElementById('view-refused').focus()");
    await page.press('Enter');
    await shows(page, 'Nothing was refused since this service started.');
    assert.equal(await focused(page), 'view-refused');
    await page.press('Tab', 'shift');
    await page.press('Enter');
    await page.until("!document.getElementById('messages-view').hidden");
    await says(page, 'count', '2 messages');
    assert.equal(await page.evaluate('location.hash'), '#q=words');
    assert.deepEqual(page.problems, []);
  });

  test('has a focus that nothing covers, and that covers nothing', async (t) => {
    const app = await startFilled(t, 30);
    const page = await open(t, app);
    await says(page, 'count', '30 messages');
    await page.until("document.querySelectorAll('#top-senders li').length === 7");
    // Each in turn is what is seen at the middle of its place, wherever the browser scrolls to, down the page and up again.
    const covered: string[] = [];
    for (const direction of [undefined, 'shift'] as const) {
      for (let count = 0; count < 75; count += 1) {
        await page.press('Tab', direction);
        const isSeen = await page.evaluate(`(() => {
          const { left, top, width, height } = document.activeElement.getBoundingClientRect();
          return document.activeElement.contains(document.elementFromPoint(left + width / 2, top + height / 2));
        })()`);
        if (isSeen !== true) covered.push(await focused(page));
      }
      assert.deepEqual(covered, []);
    }
    assert.deepEqual(page.problems, []);
  });
});
