/** The page in a real browser, for the tests in page/. Every state is also pictured in .screenshots/, in each of three widths, light and dark. */
import assert from 'node:assert/strict';
import { after, type TestContext } from 'node:test';
import { startTestApp, type TestApp } from '../support/app.ts';
import { waitFor } from '../support/wait.ts';
import { browserCommand, startBrowser, type Page, type Viewport } from './browser.ts';

export const NARROW: Viewport = { width: 360, height: 780 };
export const MIDDLE: Viewport = { width: 768, height: 1024 };
export const WIDE: Viewport = { width: 1280, height: 800 };

if (browserCommand === undefined) throw new Error('no browser is installed here: install chromium, or set CHROMIUM to the command of one');
export const newPage = await startBrowser({ after }, browserCommand);

/** Opens the page of a service, with this fragment. */
export async function open(t: TestContext, app: TestApp, fragment = ''): Promise<Page> {
  const page = await newPage(t);
  await page.setViewport(WIDE);
  await page.goTo(app.privateUrl + (fragment === '' ? '' : `/${fragment}`));
  return page;
}

/** A service with so many messages. */
export async function startFilled(t: TestContext, count: number): Promise<TestApp> {
  const app = await startTestApp(t);
  await fill(app, 0, count);
  return app;
}

/** Stores messages numbered from `from`, an hour of time between each, some of them with a needle in the text. */
export async function fill(app: TestApp, from: number, to: number): Promise<void> {
  for (let index = from; index < to; index += 1) {
    const ts = new Date(Date.UTC(2026, 0, 1) + index * 3_600_000).toISOString();
    const text = index % 10 === 0 ? `Invoice ${index} is due` : `Message number ${index}, with words`;
    await app.send({ message_id: `m${index}`, from: `+9198765432${10 + (index % 7)}`, ts, text });
  }
}

export const ids = async (page: Page): Promise<readonly string[]> =>
  JSON.parse(String(await page.evaluate("JSON.stringify([...document.querySelectorAll('#list .id')].map((id) => id.textContent))")));
export const textOf = (page: Page, id: string) => page.evaluate(`document.getElementById(${JSON.stringify(id)}).textContent`);
/** Waits until the page shows a text. */
export const shows = (page: Page, text: string) => page.until(`document.body?.innerText.includes(${JSON.stringify(text)})`);
/** Waits until an element has exactly this text. */
export const says = (page: Page, id: string, text: string) =>
  page.until(`document.getElementById(${JSON.stringify(id)})?.textContent === ${JSON.stringify(text)}`);
/** Waits until the page is live, and has asked for the list again after that: from then on it has what comes from the stream alone. */
export async function isLive(page: Page, app: TestApp): Promise<void> {
  await says(page, 'connection', 'Live');
  await waitFor('the list that is asked for again', () => app.logs.filter(({ path, status }) => path === '/messages' && status === 200).length > 1);
}
export const setValue = (page: Page, id: string, value: string) => page.evaluate(`(() => {
  const field = document.getElementById(${JSON.stringify(id)});
  field.value = ${JSON.stringify(value)};
  field.dispatchEvent(new Event('input', { bubbles: true }));
})()`);
export const click = (page: Page, selector: string) => page.evaluate(`document.querySelector(${JSON.stringify(selector)}).click()`);
/** What has the focus: its id, or its class with its text. */
export const focused = async (page: Page) => String(await page.evaluate(
  "document.activeElement.id || `${document.activeElement.className || document.activeElement.localName}: ${document.activeElement.textContent.trim().slice(0, 40)}`"));
export const fragmentOf = (page: Page) => page.evaluate('location.hash');
/** How high an element stands, in CSS pixels from the top of what is seen. */
export const topOf = async (page: Page, selector: string) =>
  Number(await page.evaluate(`document.querySelector(${JSON.stringify(selector)}).getBoundingClientRect().top`));
/** The different heights of the rows of the list, in CSS pixels. */
export const rowHeights = async (page: Page): Promise<readonly number[]> => JSON.parse(String(await page.evaluate(
  "JSON.stringify([...new Set([...document.querySelectorAll('#list li')].map((row) => Math.round(row.getBoundingClientRect().height)))])")));

/** Pictures what is shown in every width, light and dark, and holds that nothing is wider than the window. */
export async function picture(page: Page, name: string): Promise<void> {
  for (const viewport of [NARROW, MIDDLE, WIDE]) {
    for (const dark of [false, true]) {
      await page.setViewport({ ...viewport, dark });
      assert.equal(await page.evaluate('document.documentElement.scrollWidth <= innerWidth'), true, `${name} fits ${viewport.width} pixels`);
      await page.screenshot(`${name}-${viewport.width}${dark ? '-dark' : ''}`);
    }
  }
  await page.setViewport(WIDE);
}
