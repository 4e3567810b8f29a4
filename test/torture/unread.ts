import { join } from 'node:path';
import { startClosedLoop } from '../support/load.ts';
import { sign } from '../support/messages.ts';
import { connectRaw, statusesIn } from '../support/raw-http.ts';
import { temporaryFolder, type Scope } from '../support/temporary.ts';
import { waitFor } from '../support/wait.ts';
import { atMost, createIds, exactly, residentMegabytes, startTarget, type Scenario, type Target } from './scenario.ts';

const CONNECTIONS = 40;
const PIPELINED = 100;
const SMALL_REQUESTS_MEGABYTES = 12;
const MOST_GROWTH_MEGABYTES = 150;
const SECONDS = 10;
const PAGE = 'GET /messages?limit=100 HTTP/1.1\r\nHost: a\r\n\r\n';
const LIVE = 'GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n';

export const unreadAnswers: Scenario = {
  name: `${CONNECTIONS} connections leave ${PIPELINED} long pages unread each, one more sends ${SMALL_REQUESTS_MEGABYTES} MB of small requests behind them`,
  async run(scope) {
    const target = await startTarget(scope, { env: { DATABASE_URL: join(temporaryFolder(scope), 'app.db') } });
    await fillWithLongPage(target);
    await warmUp(scope, target);
    const memory = watchMemory(scope, target);
    const requests = [
      ...Array.from({ length: CONNECTIONS }, () => PAGE.repeat(PIPELINED)),
      PAGE.repeat(10) + LIVE.repeat(SMALL_REQUESTS_MEGABYTES * 1024 * 1024 / LIVE.length),
    ];
    for (const bytes of requests) {
      const connection = connectRaw(scope, target.port);
      connection.socket.pause();
      connection.write(bytes);
    }
    const load = startClosedLoop(scope, target.port, 4, createIds('beside'));
    await new Promise((resolve) => setTimeout(resolve, SECONDS * 1000));
    await load.stop();
    return [
      atMost('growth of resident memory', memory.growth(), MOST_GROWTH_MEGABYTES, ' MB'),
      exactly('messages not acknowledged beside it', load.sent.filter(({ status }) => status !== 200).length, 0),
    ];
  },
};

const LONGEST_BODY = 16 * 1024 * 1024;
const SILENT_SENDERS = 4;

export const silentHeads: Scenario = {
  name: `${SILENT_SENDERS} silent heads that declare ${LONGEST_BODY} bytes each`,
  async run(scope) {
    const { port } = await startTarget(scope, {
      env: { DATABASE_URL: join(temporaryFolder(scope), 'app.db'), MAX_BODY_BYTES: String(LONGEST_BODY) },
    });
    const silent = Array.from({ length: SILENT_SENDERS }, () => connectRaw(scope, port));
    for (const connection of silent) {
      connection.write(`POST /webhook HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: ${LONGEST_BODY}\r\n\r\n`);
    }
    await waitFor('their turn', () => silent.every((connection) => statusesIn(connection.received())[0] === 100));
    const load = startClosedLoop(scope, port, 4, createIds('beside'));
    await waitFor('answers', () => load.sent.length > 1000);
    await load.stop();
    return [exactly('messages not acknowledged beside them', load.sent.filter(({ status }) => status !== 200).length, 0)];
  },
};

const FLOODS = 700;
const HEAP_MEGABYTES = 256;
const MOST_FLOOD_GROWTH_MEGABYTES = 250;
const STREAM = 'GET /messages/stream HTTP/1.1\r\nHost: a\r\n\r\n';

export const behindStreams: Scenario = {
  name: `${FLOODS} connections send 1200 small requests each behind a stream, to a heap of ${HEAP_MEGABYTES} MB`,
  async run(scope) {
    const target = await startTarget(scope, {
      env: { DATABASE_URL: join(temporaryFolder(scope), 'app.db') }, nodeArguments: [`--max-old-space-size=${HEAP_MEGABYTES}`],
    });
    await warmUp(scope, target);
    const memory = watchMemory(scope, target);
    const floods = Array.from({ length: FLOODS }, () => connectRaw(scope, target.port));
    await waitFor('the connections', () => floods.every(({ socket }) => !socket.connecting));
    for (const flood of floods) flood.write(STREAM + LIVE.repeat(1200));
    const load = startClosedLoop(scope, target.port, 4, createIds('beside'));
    await waitFor('answers', () => load.sent.length > 5000);
    await load.stop();
    return [
      exactly('messages not acknowledged beside them', load.sent.filter(({ status }) => status !== 200).length, 0),
      exactly('the process has ended', String(target.server.child.exitCode !== null || target.server.child.signalCode !== null), 'false'),
      atMost('growth of resident memory', memory.growth(), MOST_FLOOD_GROWTH_MEGABYTES, ' MB'),
    ];
  },
};

/** A page of 100 texts of control characters, which JSON writes sixfold: 2.4 MB. */
async function fillWithLongPage({ url }: Target): Promise<void> {
  await Promise.all(Array.from({ length: 100 }, async (_, index) => {
    const text = '\u0001'.repeat(4096);
    const body = JSON.stringify({ message_id: `long-${index}`, from: '+12', to: '+12', ts: '2035-01-15T10:00:00Z', text });
    await (await fetch(`${url}/webhook`, { method: 'POST', body, headers: { 'X-Signature': sign(body) } })).text();
  }));
}

async function warmUp(scope: Scope, { port }: Target): Promise<void> {
  const load = startClosedLoop(scope, port, 4, createIds('warm'));
  await waitFor('a warm server', () => load.sent.length > 2000);
  await load.stop();
}

function watchMemory(scope: Scope, { server }: Target) {
  const before = residentMegabytes(server.child.pid);
  let most = before;
  const watch = setInterval(() => { most = Math.max(most, residentMegabytes(server.child.pid)); }, 20);
  scope.after(() => clearInterval(watch));
  return { growth: () => most - before };
}
