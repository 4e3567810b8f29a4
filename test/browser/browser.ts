/** A real browser, driven over its DevTools protocol (https://chromedevtools.github.io/devtools-protocol/) with Node's own WebSocket. */
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { CHECKOUT } from '../support/server-process.ts';
import { temporaryFolder, type Scope } from '../support/temporary.ts';
import { waitFor } from '../support/wait.ts';

/** Where screenshots are written, to be looked at. */
const SCREENSHOTS = join(CHECKOUT, '.screenshots');

/** The browser's command, or undefined where none is installed. */
export const browserCommand = [process.env['CHROMIUM'], 'chromium', 'chromium-browser', 'google-chrome']
  .find((command) => command !== undefined && spawnSync(command, ['--version']).status === 0);

export interface Viewport {
  readonly width: number;
  readonly height: number;
  readonly dark?: boolean;
}

export interface Page {
  goTo(url: string): Promise<void>;
  /** Does what makes the page load anew, and waits until it has. */
  renewedBy(act: () => Promise<unknown>): Promise<void>;
  reload(): Promise<void>;
  /** The value of a JavaScript expression in the page. */
  evaluate(expression: string): Promise<unknown>;
  /** Waits until an expression is true, and fails with what the page shows otherwise. */
  until(expression: string): Promise<void>;
  /** Presses a key, such as `Tab` or `Enter`, or with the shift key held. */
  press(key: keyof typeof KEY_CODES, withShift?: 'shift'): Promise<void>;
  /** Types into whatever has the focus. */
  type(text: string): Promise<void>;
  setViewport(viewport: Viewport): Promise<void>;
  /** Shows it, where it is one of several tabs. */
  show(): Promise<void>;
  close(): Promise<void>;
  screenshot(name: string): Promise<void>;
  /** What assistive technology is told of the page, without what it leaves out. */
  accessibilityTree(): Promise<readonly AccessibleNode[]>;
  /** What it shares with other tabs of the same profile, such as connections. */
  readonly profile: string;
  /** Errors of the console, failed requests, violations of the content security policy, uncaught exceptions. */
  readonly problems: string[];
}

/** What a screen reader gets of an element. */
export interface AccessibleNode {
  readonly role: string;
  readonly name: string;
  /** Such as `level` of a heading, `live` of a status, `focusable`. */
  readonly properties: Readonly<Record<string, unknown>>;
}

const KEY_CODES = { Tab: 9, Enter: 13, Escape: 27, Space: 32, ArrowUp: 38, ArrowDown: 40 };
/** Of the modifiers of a key event. */
const SHIFT = 8;

type Parameters = Readonly<Record<string, unknown>>;

/** A connection to the browser: sends commands, and hands on events. */
async function connect(url: string) {
  const socket = new WebSocket(url);
  const pending = new Map<number, { resolve: (result: Record<string, unknown>) => void; reject: (error: Error) => void }>();
  const listeners: ((sessionId: string, method: string, params: Record<string, any>) => void)[] = [];
  let last = 0;
  socket.addEventListener('message', ({ data }) => {
    const { id, result, error, sessionId, method, params } = JSON.parse(String(data));
    if (id === undefined) listeners.forEach((listener) => listener(sessionId, method, params));
    else if (error === undefined) pending.get(id)?.resolve(result);
    else pending.get(id)?.reject(new Error(error.message));
    pending.delete(id);
  });
  await new Promise((resolve, reject) => {
    socket.addEventListener('open', resolve);
    socket.addEventListener('error', reject);
  });
  return {
    send(method: string, params: Parameters = {}, sessionId?: string): Promise<Record<string, any>> {
      const id = last += 1;
      socket.send(JSON.stringify({ id, method, params, sessionId }));
      return new Promise((resolve, reject) => pending.set(id, { resolve, reject }));
    },
    listen: (listener: (typeof listeners)[number]) => void listeners.push(listener),
    close: () => socket.close(),
  };
}

/** Opens a page with a profile of its own, or with that of another one: in a window of its own, or as a tab that hides the others of its window. */
export type OpenPage = (scope: Scope, beside?: Page, as?: 'window' | 'tab') => Promise<Page>;

/** Starts a browser without a window, and ends it after the test. */
export async function startBrowser(scope: Scope, command: string): Promise<OpenPage> {
  const profile = temporaryFolder(scope);
  // Root has no sandbox to run it in; it shows nothing but this project's page.
  const sandbox = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
  const child = spawn(command, ['--headless=new', '--remote-debugging-port=0', `--user-data-dir=${profile}`, '--disable-gpu', '--no-first-run',
    '--disable-background-networking', '--host-resolver-rules=MAP * 127.0.0.1', ...sandbox, 'about:blank'], { stdio: ['ignore', 'ignore', 'pipe'] });
  const ended = new Promise((resolve) => child.on('close', resolve));
  let address: string | undefined;
  createInterface(child.stderr).on('line', (line) => { address ??= /^DevTools listening on (ws:.*)$/.exec(line)?.[1]; });
  const connection = await connect(await waitFor('the browser', () => address));
  scope.after(async () => {
    await connection.send('Browser.close').catch(() => {});
    connection.close();
    await ended;
  });
  return async (pageScope, beside, as = 'window') => {
    const browserContextId = String(beside?.profile ?? (await connection.send('Target.createBrowserContext'))['browserContextId']);
    const { targetId } = await connection.send('Target.createTarget', { url: 'about:blank', browserContextId, newWindow: beside === undefined || as === 'window' });
    const { sessionId } = await connection.send('Target.attachToTarget', { targetId, flatten: true });
    pageScope.after(async () => void await connection.send('Target.closeTarget', { targetId }).catch(() => {}));
    return openPage(connection, String(sessionId), browserContextId);
  };
}

async function openPage(connection: Awaited<ReturnType<typeof connect>>, session: string, profile: string): Promise<Page> {
  const send = (method: string, params?: Parameters) => connection.send(method, params, session);
  const problems: string[] = [];
  connection.listen((sessionId, method, params) => {
    if (sessionId !== session) return;
    if (method === 'Runtime.exceptionThrown') problems.push(`exception: ${params['exceptionDetails'].exception?.description ?? params['exceptionDetails'].text}`);
    if (method === 'Runtime.consoleAPICalled' && params['type'] === 'error') problems.push(`console: ${JSON.stringify(params['args'])}`);
    if (method === 'Log.entryAdded' && params['entry'].level === 'error') problems.push(`log: ${params['entry'].text} ${params['entry'].url ?? ''}`);
    // It is told of history that a script made without anybody's click, as these tests do.
    const isOfTest = JSON.stringify(params).includes('NavigationEntryMarkedSkippable');
    if (method === 'Audits.issueAdded' && !isOfTest) problems.push(`issue: ${JSON.stringify(params['issue'])}`);
  });
  for (const domain of ['Page', 'Runtime', 'Log', 'Audits']) await send(`${domain}.enable`);

  const evaluate: Page['evaluate'] = async (expression) => {
    const { result, exceptionDetails } = await send('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
    if (exceptionDetails !== undefined) throw new Error(`${expression}: ${exceptionDetails.exception?.description}`);
    return result.value;
  };
  const renewedBy: Page['renewedBy'] = async (act) => {
    await evaluate('window.isOld = true');
    // Its answer may be lost with the document.
    await act().catch(() => {});
    // Between the two documents there is none to ask.
    await waitFor('the page anew', () => evaluate("document.readyState === 'complete' && window.isOld === undefined").then((is) => is === true, () => false));
  };
  return {
    profile,
    problems,
    evaluate,
    async goTo(url) {
      await send('Page.navigate', { url });
      await waitFor('the page', async () => await evaluate('document.readyState') === 'complete');
    },
    renewedBy,
    reload: () => renewedBy(() => send('Page.reload')),
    async until(expression) {
      try {
        await waitFor(expression, async () => await evaluate(`Boolean(${expression})`) === true);
      } catch (error) {
        throw new Error(`${expression}; the page shows: ${String(await evaluate('document.body.innerText')).slice(0, 600)}; problems: ${problems.slice(0, 5).join('; ')}`, { cause: error });
      }
    },
    async press(key, withShift) {
      const text = key === 'Enter' ? '\r' : key === 'Space' ? ' ' : undefined;
      const event = {
        key: key === 'Space' ? ' ' : key, code: key, windowsVirtualKeyCode: KEY_CODES[key],
        ...(withShift !== undefined && { modifiers: SHIFT }), ...(text !== undefined && { text }),
      };
      await send('Input.dispatchKeyEvent', { type: 'keyDown', ...event });
      await send('Input.dispatchKeyEvent', { type: 'keyUp', ...event });
    },
    type: async (text) => void await send('Input.insertText', { text }),
    async setViewport({ width, height, dark = false }) {
      await send('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: false });
      await send('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' }] });
    },
    show: async () => void await send('Page.bringToFront'),
    close: async () => void await send('Page.close'),
    async screenshot(name) {
      mkdirSync(SCREENSHOTS, { recursive: true });
      const { data } = await send('Page.captureScreenshot', { format: 'png', captureBeyondViewport: false });
      writeFileSync(join(SCREENSHOTS, `${name}.png`), Buffer.from(String(data), 'base64'));
    },
    async accessibilityTree() {
      const nodes: Record<string, any>[] = (await send('Accessibility.getFullAXTree'))['nodes'];
      return nodes.filter(({ ignored }) => ignored !== true).map(({ role, name, properties = [] }) => ({
        role: String(role?.value), name: String(name?.value ?? ''),
        properties: Object.fromEntries(properties.map((each: Record<string, any>) => [each['name'], each['value'].value])),
      }));
    },
  };
}
