import { Agent, get } from 'node:http';
import { join } from 'node:path';
import { readEvents } from '../support/event-stream.ts';
import { percentile } from '../support/load.ts';
import { message, sign } from '../support/messages.ts';
import { connectRaw } from '../support/raw-http.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { waitFor } from '../support/wait.ts';
import { atMost, createIds, eachOnce, exactly, residentMegabytes, startTarget, type Scenario } from './scenario.ts';

const SENDERS = 8;

const AT_END = 60;
const BEHIND = 40;
const LARGE_MESSAGES = 1500;
/** JSON writes each of its characters sixfold. */
const LARGE_TEXT = '\u0001'.repeat(4096);

async function sendLarge(url: string, count: number, nextId: () => string): Promise<void> {
  let left = count;
  await Promise.all(Array.from({ length: SENDERS }, async () => {
    for (; left > 0;) {
      left -= 1;
      const body = JSON.stringify(message({ message_id: nextId(), text: LARGE_TEXT }));
      const answer = await fetch(`${url}/webhook`, { method: 'POST', body, headers: { 'X-Signature': sign(body) } });
      if (answer.status !== 200) throw new Error(`a message was answered ${answer.status}`);
      await answer.text();
    }
  }));
}

export const silentStreams: Scenario = {
  name: `${AT_END + BEHIND} stream readers that read nothing while ${LARGE_MESSAGES} large messages come`,
  async run(scope) {
    const { server, url, port } = await startTarget(scope, {
      env: { DATABASE_URL: join(temporaryFolder(scope), 'app.db'), MAX_STREAMS: String(AT_END + BEHIND + 1) },
    });
    let sent = 0;
    const nextId = () => `large-${sent += 1}`;
    const quick = await readEvents(scope, `${url}/messages/stream`);
    await sendLarge(url, LARGE_MESSAGES, nextId);
    await quick.has(LARGE_MESSAGES);
    const before = residentMegabytes(server.child.pid);
    let most = before;
    const watch = setInterval(() => { most = Math.max(most, residentMegabytes(server.child.pid)); }, 20);
    scope.after(() => clearInterval(watch));
    const open = (query: string) => {
      const connection = connectRaw(scope, port);
      connection.write(`GET /messages/stream${query} HTTP/1.1\r\nHost: a\r\n\r\n`);
      return connection;
    };
    const atEnd = ['', '?q=%01', `?from=${encodeURIComponent(message().from)}`].flatMap((query) => Array.from({ length: AT_END / 3 }, () => open(query)));
    await waitFor('those at the end', async () => {
      await sendLarge(url, 1, nextId);
      return atEnd.every((connection) => connection.received().includes('data: '));
    });
    for (const { socket } of atEnd) socket.pause();
    for (const query of ['?after=start', '?after=start&q=%01']) for (let count = 0; count < BEHIND / 2; count += 1) open(query).socket.pause();
    const metrics = async () => (await fetch(`${url}/metrics`)).text();
    await waitFor('all readers', async () => (await metrics()).includes(`message_streams_open ${AT_END + BEHIND + 1}\n`));
    await sendLarge(url, LARGE_MESSAGES, nextId);
    await quick.has(sent);
    clearInterval(watch);
    const cutOff = Number(/^message_streams_ended_total\{end="too_slow"\} (.*)$/m.exec(await metrics())?.[1]);
    return [
      atMost('growth of resident memory', most - before, 150, ' MB'),
      exactly('readers at the end that were cut off', cutOff, AT_END),
      eachOnce('messages of a reader beside them', quick.ids(), sent),
    ];
  },
};

const SEARCHERS = 300;
const SECONDS = 10;

/** Asks from one of the loopback addresses, and returns the status, or 0 where there was no answer. */
function ask(url: string, path: string, localAddress: string, agent?: Agent): Promise<number> {
  return new Promise((resolve) => {
    get(url + path, { localAddress, ...(agent && { agent }) }, (response) => {
      response.resume().on('end', () => resolve(response.statusCode ?? 0)).on('error', () => resolve(0));
    }).on('error', () => resolve(0));
  });
}

export const queuedSearches: Scenario = {
  name: `${SEARCHERS} searches that wait, all of one address, for ${SECONDS} s`,
  async run(scope, progress) {
    const { url } = await startTarget(scope, { env: { DATABASE_URL: join(temporaryFolder(scope), 'app.db') } });
    const nextId = createIds('search');
    await sendLarge(url, LARGE_MESSAGES, nextId);
    let stopped = false;
    const begin = performance.now();
    const agent = new Agent({ keepAlive: true });
    scope.after(() => agent.destroy());
    const floodStatuses = new Set<number>();
    const flood = Promise.all(Array.from({ length: SEARCHERS }, async () => {
      while (!stopped) floodStatuses.add(await ask(url, '/messages?q=zz', '127.0.0.1', agent));
    }));
    scope.after(() => { stopped = true; });
    await waitFor('waiting searches', async () => /^storage_reads_waiting 25\d$/m.test(await (await fetch(`${url}/metrics`)).text()));

    const live = await readEvents(scope, `${url}/messages/stream`);
    const statuses: Record<string, Set<number>> = {};
    const latencies: Record<string, number[]> = { '/messages?q=zz': [] };
    let rounds = 0;
    for (; performance.now() - begin < SECONDS * 1000; rounds += 1) {
      for (const [path, address] of [['/stats', '127.0.0.1'], ['/messages', '127.0.0.1'], ['/messages?q=zz', '127.0.0.2']] as const) {
        const asked = performance.now();
        (statuses[path] ??= new Set()).add(await ask(url, path, address));
        (latencies[path] ??= []).push(performance.now() - asked);
      }
      await sendLarge(url, 1, nextId);
      await live.has(rounds + 1);
    }
    const fromStart = await readEvents(scope, `${url}/messages/stream?after=start&q=%01`);
    await fromStart.has(LARGE_MESSAGES + rounds);
    stopped = true;
    await flood;
    progress(`${rounds} rounds; the searches of the one address were answered ${[...floodStatuses].toSorted().join(', ')}`);
    const worst = (path: string) => percentile(latencies[path] ?? [], 1);
    return [
      exactly('answers to /stats meanwhile', [...statuses['/stats'] ?? []].join(), '200'),
      exactly('answers to first pages meanwhile', [...statuses['/messages'] ?? []].join(), '200'),
      exactly('answers to searches of another address meanwhile', [...statuses['/messages?q=zz'] ?? []].join(), '200'),
      atMost('longest time to such a search, of turns with the other', worst('/messages?q=zz'), 2000, ' ms'),
      exactly('live and filtered streams cut off', Number(live.isEnded()) + Number(fromStart.isEnded()), 0),
      eachOnce('messages of the live one', live.ids(), rounds),
      eachOnce('messages of the filtered one, from the start', fromStart.ids(), LARGE_MESSAGES + rounds),
    ];
  },
};
