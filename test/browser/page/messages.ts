/** The list: what is in it, what arrives, what is searched for, and how a row looks. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, test } from 'node:test';
import { startTestApp, type TestApp } from '../../support/app.ts';
import { temporaryFolder } from '../../support/temporary.ts';
import type { Page } from '../browser.ts';
import { click, ids, isLive, MIDDLE, NARROW, open, picture, rowHeights, says, setValue, shows, startFilled, textOf, topOf, WIDE } from '../support.ts';

const clear = (page: Page) => click(page, '#filters button[type=reset]');

/** Less than one takes. */
const A_DIGIT_PX = 4;

describe('the list', () => {
  test('has the newest messages, and those that come while it is open', async (t) => {
    const app = await startFilled(t, 60);
    const page = await open(t, app);
    await says(page, 'count', '60 messages');
    assert.deepEqual(await ids(page), Array.from({ length: 25 }, (_, index) => `m${59 - index}`));
    await isLive(page, app);
    await app.send({ message_id: 'just now', ts: new Date().toISOString(), text: 'arrived while the page is open' });
    await shows(page, 'arrived while the page is open');
    assert.equal(await page.evaluate("document.querySelector('#list li').classList.contains('new')"), true);
    assert.equal(await page.evaluate("document.querySelector('#list li:first-child .badge')"), null);
    await says(page, 'total', '61');
    await shows(page, '61 in all');
    assert.equal(await page.evaluate(`[...document.querySelectorAll('#list .when')].every(({ scrollWidth, clientWidth }) => scrollWidth <= clientWidth)`), true,
      'a date with its time and what says that it is late fit');
    await picture(page, 'list');
    assert.deepEqual(page.problems, []);
  });

  test('says what came late, and where a reload has it', async (t) => {
    const app = await startTestApp(t);
    await app.send({ message_id: 'on time', ts: new Date().toISOString() });
    const page = await open(t, app);
    await isLive(page, app);
    await says(page, 'count', '1 message');
    await app.send({ message_id: 'late', ts: new Date(Date.now() - 3 * 3_600_000).toISOString(), text: 'three hours on the way' });
    await says(page, 'count', '2 messages');
    assert.deepEqual(await ids(page), ['late', 'on time']);
    const badge = await page.evaluate("(({ textContent, title }) => `${textContent}: ${title}`)(document.querySelector('#list li .badge'))");
    assert.equal(badge, '3 h late: Received 3 h after its ts. By its ts it belongs further down, where a reload shows it.');
    assert.equal(await page.evaluate("document.querySelectorAll('#list .badge').length"), 1);
    await picture(page, 'late');
    await page.reload();
    await says(page, 'count', '2 messages');
    assert.deepEqual(await ids(page), ['on time', 'late']);
    assert.equal(await page.evaluate("document.querySelector('#list .badge').title"), 'Received 3 h after its ts.');
    assert.deepEqual(page.problems, []);
  });

  test('says how long ago each was, and exactly when on demand', async (t) => {
    const app = await startTestApp(t);
    const minutesAgo = (minutes: number) => new Date(Date.now() - minutes * 60_000 - 1000).toISOString();
    const sent = [minutesAgo(0), minutesAgo(3), minutesAgo(150), minutesAgo(3000), '2026-01-02T03:04:05.678Z', minutesAgo(-130)];
    for (const [index, ts] of sent.entries()) await app.send({ message_id: `t${index}`, ts });
    const page = await open(t, app);
    await says(page, 'count', '6 messages');
    const times: { told: string; exact: string; title: string }[] = JSON.parse(String(await page.evaluate(`JSON.stringify(
      [...document.querySelectorAll('#list time')].map((time) => ({ told: time.textContent, exact: time.dateTime, title: time.title })))`)));
    assert.deepEqual(times.map(({ exact }) => exact).toSorted(), sent.toSorted());
    assert.deepEqual(times.slice(2).map(({ told }) => told), ['3 min ago', '2 h ago', '2 d ago', '2026-01-02']);
    assert.equal(times[0]?.told, 'in 2 h');
    assert.equal(times[5]?.title, '2026-01-02 03:04:05.678 UTC');
    const clocks = "[...document.querySelectorAll('#list time')].map((time) => getComputedStyle(time, '::after').content).join()";
    assert.equal(await page.evaluate(clocks), 'none,none,none,none,none," 03:04"');
    assert.match(String(await page.evaluate('document.body.innerText')), /by the time that senders gave/);
    await page.setViewport(NARROW);
    assert.equal(await page.evaluate(clocks), 'none,none,none,none,none,none');
  });

  test('finds by text while one types, by sender and by time', async (t) => {
    const app = await startFilled(t, 60);
    const page = await open(t, app);
    await isLive(page, app);
    await says(page, 'count', '60 messages');
    await page.evaluate("document.getElementById('q').focus()");
    await page.type('INVOICE 4');
    await says(page, 'count', '1 message');
    assert.deepEqual(await ids(page), ['m40']);
    assert.equal(await page.evaluate("document.querySelector('mark').textContent"), 'Invoice 4');
    await picture(page, 'search');
    await app.send({ message_id: 'other', text: 'does not match' });
    await app.send({ message_id: 'late', text: 'invoice 4711' });
    await says(page, 'count', '2 messages');
    assert.deepEqual(await ids(page), ['late', 'm40']);

    await clear(page);
    await says(page, 'count', '62 messages');
    await page.until("document.querySelectorAll('#top-senders a').length === 7");
    await click(page, '#top-senders a');
    await page.until("document.getElementById('count').textContent.match(/^(9|1[0-9]) messages$/)");
    assert.equal(await page.evaluate("document.getElementById('from').value"), '+919876543210');
    await setValue(page, 'from', '');
    await setValue(page, 'since', '2026-01-03T00:00');
    await says(page, 'count', '12 messages');
    await setValue(page, 'q', 'nowhere to be found');
    await shows(page, 'No message matches. Clear the filters to see all.');
    await picture(page, 'nothing-found');
    assert.deepEqual(page.problems, []);
  });

  test('draws what each sender has sent to one scale, however many digits that takes', async (t) => {
    const app = await startFilled(t, 7);
    for (let more = 0; more < 120; more += 1) await app.send({ message_id: `more-${more}`, from: '+919876543212' });
    const page = await open(t, app);
    const counts = "[...document.querySelectorAll('#top-senders li')].map((sender) => sender.lastChild.textContent).join()";
    await page.until(`${counts} === '121,1,1,1,1,1,1'`);
    // The width of a column, of which the longest bar takes all.
    const columns = String(await page.evaluate(`[...document.querySelectorAll('#top-senders .bar')].map((bar) =>
      bar.getBoundingClientRect().width / parseFloat(bar.style.width) * 100).join()`)).split(',').map(Number);
    assert.equal(columns.length, 7);
    assert.ok(Math.max(...columns) - Math.min(...columns) < A_DIGIT_PX, columns.join());
  });

  test('says that a sender can be none, before it asks', async (t) => {
    const app = await startFilled(t, 10);
    const page = await open(t, app);
    await isLive(page, app);
    await says(page, 'count', '10 messages');
    const asked = () => app.logs.filter(({ path }) => path === '/messages').length;
    const before = asked();
    await setValue(page, 'from', '98765');
    await says(page, 'from-problem', 'No valid sender: a sender is + and 2 to 15 digits, of which the first is not 0.');
    await shows(page, 'Mend the sender, or clear the filters.');
    assert.equal(await page.evaluate("document.getElementById('from').getAttribute('aria-invalid')"), 'true');
    assert.equal(asked(), before);
    await picture(page, 'invalid-sender');
    await setValue(page, 'from', '+91 98765 432-11');
    await says(page, 'count', '2 messages');
    assert.equal(await textOf(page, 'from-problem'), '');
    assert.deepEqual(await ids(page), ['m8', 'm1']);
    assert.deepEqual(page.problems, []);
  });

  test('shows the longest number of a sender in full, on every screen', async (t) => {
    const longest = '+919876543210123';
    const page = await open(t, await startFilled(t, 3), `#from=${encodeURIComponent(longest)}`);
    await says(page, 'count', '0 messages');
    for (const viewport of [NARROW, WIDE, MIDDLE]) {
      await page.setViewport(viewport);
      // With the button that empties the field, which stands there once the field has the focus.
      await page.evaluate("document.getElementById('from').focus()");
      assert.equal(await page.evaluate("(({ scrollWidth, clientWidth }) => scrollWidth <= clientWidth)(document.getElementById('from'))"), true,
        `${longest} fits ${viewport.width} pixels`);
    }
    assert.ok(await topOf(page, '#filters button') < await topOf(page, '#from') + A_DIGIT_PX, 'the filters are one line where there is room');
    await picture(page, 'longest-sender');
    assert.deepEqual(page.problems, []);
  });

  test('has the messages of a sender that is none any more, of a file that was made before there were rules', async (t) => {
    const databasePath = join(temporaryFolder(t), 'app.db');
    const database = new DatabaseSync(databasePath);
    database.exec(`CREATE TABLE messages(id INTEGER PRIMARY KEY AUTOINCREMENT, message_id TEXT UNIQUE NOT NULL, from_number TEXT NOT NULL,
      to_number TEXT NOT NULL, ts TEXT NOT NULL, text TEXT NULL);
      INSERT INTO messages(message_id, from_number, to_number, ts, text) VALUES ('old', 'Alice', 'Bob', 'long ago', 'of a former time')`);
    database.close();
    const app = await startTestApp(t, { DATABASE_URL: databasePath });
    await app.send({ message_id: 'new' });
    const page = await open(t, app);
    await says(page, 'count', '2 messages');
    assert.equal(await page.evaluate("[...document.querySelectorAll('#list time')].map((time) => time.textContent).includes('long ago')"), true);
    await page.evaluate("[...document.querySelectorAll('#list .sender')].find((link) => link.textContent === 'Alice').click()");
    await says(page, 'count', '1 message');
    await page.reload();
    await says(page, 'count', '1 message');
    assert.deepEqual(await ids(page), ['old']);
    assert.deepEqual(page.problems, []);
  });

  test('goes from page to page', async (t) => {
    const app = await startFilled(t, 62);
    const page = await open(t, app);
    await isLive(page, app);
    await says(page, 'count', '62 messages');
    const first = await ids(page);
    await click(page, '#older');
    await says(page, 'count', '62 messages, page 2');
    await app.send({ message_id: 'meanwhile' });
    await shows(page, 'Show 1 new');
    await click(page, '#older');
    await page.until("/^6[23] messages, page 3$/.test(document.getElementById('count').textContent)");
    assert.equal(await page.evaluate("document.getElementById('older').disabled"), true);
    await picture(page, 'last-page');
    await click(page, '#newer');
    await click(page, '#newer');
    await page.until("document.getElementById('newer').disabled");
    assert.deepEqual((await ids(page)).filter((id) => id !== 'meanwhile').slice(0, 20), first.slice(0, 20));
    assert.deepEqual(page.problems, []);
  });

  test('stands still while it is paused, and says how many wait', async (t) => {
    const app = await startFilled(t, 30);
    const page = await open(t, app);
    await isLive(page, app);
    await says(page, 'count', '30 messages');
    const before = await ids(page);
    await click(page, '#pause');
    await app.send({ message_id: 'held back' });
    await shows(page, 'Show 1 new');
    assert.deepEqual(await ids(page), before);
    assert.equal(await page.evaluate("document.getElementById('pause').getAttribute('aria-pressed')"), 'true');
    await picture(page, 'paused');
    await click(page, '#pause');
    await page.until("document.getElementById('show-new').hidden");
    await says(page, 'count', '31 messages');
    await app.send({ message_id: 'no longer', text: 'shown at once' });
    await shows(page, 'shown at once');
    assert.deepEqual(page.problems, []);
  });

  test('takes in of what arrives only what is filtered for', async (t) => {
    const app = await startFilled(t, 30);
    const page = await open(t, app);
    await isLive(page, app);
    for (const [field, value, wanted] of [
      ['from', '+12', { from: '+12' }], ['since', '2030-01-01T00:00', { ts: '2030-01-01T00:00:00Z' }], ['q', 'ÉcLaIr', { text: 'an ÉCLAIR' }],
    ] as const) {
      await setValue(page, field, value);
      await says(page, 'count', '0 messages');
      await app.send({ message_id: `not ${field}`, text: 'an éclair' });
      await app.send({ message_id: field, ...wanted });
      await says(page, 'count', '1 message');
      assert.deepEqual(await ids(page), [field]);
      await setValue(page, field, '');
      await page.until("document.getElementById('count').textContent !== '1 message'");
    }
    assert.deepEqual(page.problems, []);
  });
});

describe('a row', () => {
  const TEXTS = [
    '<img src=x onerror="document.title=\'owned\'">', '<script>document.title="owned"</script>', '\u202eright to left', '"\'&<>\n  second line',
    'x'.repeat(4096), '😀'.repeat(500), '',
  ];

  async function startWithTexts(t: Parameters<typeof startTestApp>[0]): Promise<TestApp> {
    const app = await startTestApp(t);
    for (const [index, text] of TEXTS.entries()) await app.send({ message_id: `<b>${index}</b>`, text });
    return app;
  }

  test('shows text as text, whatever it holds', async (t) => {
    const app = await startWithTexts(t);
    const page = await open(t, app);
    await page.setViewport(NARROW);
    await page.until(`document.querySelectorAll('#list li').length === ${TEXTS.length}`);
    const shown = JSON.parse(String(await page.evaluate("JSON.stringify([...document.querySelectorAll('#list .text')].map((text) => text.textContent))")));
    assert.deepEqual(new Set(shown), new Set(TEXTS.map((text) => (text === '' ? 'empty text' : text))));
    await app.send({ message_id: 'live', text: TEXTS[0] ?? '' });
    await page.until(`document.querySelectorAll('#list li').length === ${TEXTS.length + 1}`);
    await setValue(page, 'q', '<IMG');
    await page.until("document.querySelectorAll('mark').length === 2");
    assert.equal(await page.evaluate("document.querySelectorAll('#list img, #list script, #list b').length"), 0);
    assert.equal(await page.evaluate('document.title'), 'webhook-inbox');
    assert.deepEqual(page.problems, []);
  });

  test('is as high as any other, however long what it shows is', async (t) => {
    const app = await startWithTexts(t);
    await app.send({ message_id: 'i'.repeat(512), from: '+123456789012345', to: '+123456789012345', ts: '2026-01-02T03:04:05.123456789Z' });
    const page = await open(t, app);
    await page.until(`document.querySelectorAll('#list li').length === ${TEXTS.length + 1}`);
    for (const [width, most] of [[360, 56], [768, 60], [1280, 40]] as const) {
      await page.setViewport({ width, height: 800 });
      const heights = await rowHeights(page);
      assert.ok(Math.max(...heights) - Math.min(...heights) <= 1, `${width} pixels: ${heights.join()}`);
      assert.ok(Math.max(...heights) <= most, `${width} pixels: ${heights.join()}`);
      // Other directions and scripts make several boxes of a line, all of them at its height.
      const broken = `[...document.querySelectorAll('#list time, #list .sender, #list .text')].filter((one) => {
        const tops = [...one.getClientRects()].map(({ top }) => top);
        return Math.max(...tops) - Math.min(...tops) > 10;
      }).length`;
      assert.equal(await page.evaluate(broken), 0);
    }
    await picture(page, 'long-texts');
  });

  test('tells an empty text from none', async (t) => {
    const app = await startTestApp(t);
    await app.send({ message_id: 'empty', text: '', ts: '2026-01-01T00:00:01Z' });
    await app.send({ message_id: 'none', text: null, ts: '2026-01-01T00:00:00Z' });
    const page = await open(t, app);
    await says(page, 'count', '2 messages');
    assert.equal(await page.evaluate("[...document.querySelectorAll('#list .text')].map((text) => text.textContent).join()"), 'empty text,no text');
  });

  test('is found where it is searched for deep in a long text', async (t) => {
    const app = await startTestApp(t);
    await app.send({ text: `${'words and words, '.repeat(200)}the needle` });
    const page = await open(t, app, '#q=needle');
    await page.until("document.querySelector('mark')?.textContent === 'needle'");
    const edges = "(({ right }, row) => right <= row.right)(document.querySelector('mark').getBoundingClientRect(), document.querySelector('#list li').getBoundingClientRect())";
    assert.equal(await page.evaluate(edges), true);
  });

  test('is on a narrow screen without scrolling, with the way to the other pages', async (t) => {
    const app = await startFilled(t, 60);
    const page = await open(t, app);
    await says(page, 'count', '60 messages');
    await page.setViewport(NARROW);
    assert.ok(await topOf(page, '#list li:nth-child(5)') < NARROW.height, 'five rows are above the fold');
    assert.ok(await topOf(page, '#older') < await topOf(page, '#list'), 'paging stands above the list');
    await page.evaluate("document.querySelector('#list li:last-child').scrollIntoView()");
    const paging = await topOf(page, '#older');
    assert.ok(paging >= 0 && paging < 100, `paging stays in reach: ${paging}`);
  });
});
