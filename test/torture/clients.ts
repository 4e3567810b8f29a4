import { join } from 'node:path';
import { startClosedLoop, percentile } from '../support/load.ts';
import { sign } from '../support/messages.ts';
import { connectRaw, statusesIn, type RawConnection } from '../support/raw-http.ts';
import { temporaryFolder, type Scope } from '../support/temporary.ts';
import { waitFor } from '../support/wait.ts';
import { atMost, createIds, exactly, probeLatency, residentMegabytes, startTarget, type Scenario } from './scenario.ts';

const REQUEST_TIMEOUT_S = 3;
const MAX_CONNECTIONS = 600;
const SLOW_SENDERS = 200;
const SLOW_READERS = 50;
const PAGE = 'GET /messages?limit=100 HTTP/1.1\r\nHost: a\r\n\r\n';

export const slowClients: Scenario = {
  name: `${SLOW_SENDERS} silent or trickling senders, ${SLOW_READERS} slow readers, idle connections up to the limit`,
  async run(scope, progress) {
    const { url, port } = await startTarget(scope, {
      env: {
        DATABASE_URL: join(temporaryFolder(scope), 'app.db'), MAX_CONNECTIONS: String(MAX_CONNECTIONS),
        HEADER_TIMEOUT_MS: String(REQUEST_TIMEOUT_S * 1000), REQUEST_TIMEOUT_MS: String(REQUEST_TIMEOUT_S * 1000),
      },
    });
    await fillWithLongTexts(url);

    const begin = performance.now();
    const idle = Array.from({ length: MAX_CONNECTIONS }, () => connectRaw(scope, port));
    const slow = Array.from({ length: SLOW_SENDERS }, (_, index) => openSlowSender(scope, port, index));
    const readers = Array.from({ length: SLOW_READERS }, () => openSlowReader(scope, port));
    const trickle = setInterval(() => {
      for (const [index, connection] of slow.entries()) if (index % 2 === 1) connection.write('x');
      // Only a write shows a client that does not read that the other side has gone.
      for (const reader of readers) reader.write('x');
    }, 100);
    scope.after(() => clearInterval(trickle));
    const allDropped = () => [...slow, ...readers].every(({ socket }) => socket.closed);
    const latencies = await probeLatency(`${url}/health/live`, () => allDropped() || performance.now() - begin > 30_000);
    const seconds = (performance.now() - begin) / 1000;
    clearInterval(trickle);
    progress(`${latencies.length} health answers meanwhile`);
    const left = [...slow, ...readers].filter(({ socket }) => !socket.closed).length;
    for (const { socket } of [...idle, ...slow, ...readers]) socket.destroy();
    return [
      exactly('slow clients not dropped', left, 0),
      atMost(`until all were dropped, at limits of ${REQUEST_TIMEOUT_S} s`, seconds, REQUEST_TIMEOUT_S * 3, ' s'),
      atMost('p99 of a health answer meanwhile', percentile(latencies, 0.99), 100, ' ms'),
    ];
  },
};

async function fillWithLongTexts(url: string): Promise<void> {
  for (let index = 0; index < 100; index += 1) {
    const body = JSON.stringify({ message_id: `long-${index}`, from: '+12', to: '+12', ts: '2025-01-15T10:00:00Z', text: '😀'.repeat(4096) });
    // Left open, the connection would be the longest idle one, and make room just when a health answer is asked for on it.
    await fetch(`${url}/webhook`, { method: 'POST', body, headers: { 'X-Signature': sign(body), Connection: 'close' } });
  }
}

function openSlowSender(scope: Scope, port: number, index: number): RawConnection {
  const connection = connectRaw(scope, port);
  if (index % 2 === 0) connection.write('POST /webhook HTTP/1.1\r\nHost:');
  else connection.write('POST /webhook HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n');
  return connection;
}

function openSlowReader(scope: Scope, port: number): RawConnection {
  const connection = connectRaw(scope, port);
  connection.socket.pause();
  connection.write(PAGE.repeat(4));
  return connection;
}

const BODY_MEGABYTES = 100;
const MOST_GROWTH_MEGABYTES = 20;

export const largeBodies: Scenario = {
  name: `Bodies of ${BODY_MEGABYTES} MB: declared, chunked, or more than declared`,
  async run(scope) {
    const { server, port } = await startTarget(scope, { env: { DATABASE_URL: join(temporaryFolder(scope), 'app.db') } });
    const load = startClosedLoop(scope, port, 4, createIds('warm'));
    await waitFor('a warm server', () => load.sent.length > 2000);
    await load.stop();
    const before = residentMegabytes(server.child.pid);
    let most = before;
    const watch = setInterval(() => { most = Math.max(most, residentMegabytes(server.child.pid)); }, 20);
    scope.after(() => clearInterval(watch));
    const heads = {
      declared: `Content-Length: ${BODY_MEGABYTES * 1024 * 1024}\r\n\r\n`,
      chunked: 'Transfer-Encoding: chunked\r\n\r\n',
      'more than declared': 'Content-Length: 10\r\n\r\n',
    };
    const outcomes: string[] = [];
    for (const [kind, head] of Object.entries(heads)) outcomes.push(`${kind}: ${await pour(scope, port, head, kind === 'chunked')}`);
    clearInterval(watch);
    return [
      {
        what: 'answers', measured: outcomes.join(', '), bound: '413 or closed; 401, as unsigned, or closed',
        holds: /^declared: (413|closed), chunked: (413|closed), more than declared: (401|closed)$/.test(outcomes.join(', ')),
      },
      atMost('growth of resident memory', most - before, MOST_GROWTH_MEGABYTES, ' MB'),
    ];
  },
};

const CHUNKING_CONNECTIONS = 40;
const ONE_BYTE_CHUNKS = 65_000;

export const tinyChunks: Scenario = {
  name: `${CHUNKING_CONNECTIONS} connections that each send ${ONE_BYTE_CHUNKS} chunks of one byte`,
  async run(scope) {
    const { server, port } = await startTarget(scope, { env: { DATABASE_URL: join(temporaryFolder(scope), 'app.db') } });
    const before = residentMegabytes(server.child.pid);
    let most = before;
    const watch = setInterval(() => { most = Math.max(most, residentMegabytes(server.child.pid)); }, 20);
    scope.after(() => clearInterval(watch));
    const connections = Array.from({ length: CHUNKING_CONNECTIONS }, () => {
      const connection = connectRaw(scope, port);
      connection.write(`POST /webhook HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${'1\r\nx\r\n'.repeat(ONE_BYTE_CHUNKS)}`);
      return connection;
    });
    const answers = await Promise.all(connections.map((connection) => connection.closed()));
    const refused = answers.filter((answer) => statusesIn(answer).join() === '400').length;
    clearInterval(watch);
    return [
      exactly('refused', refused, CHUNKING_CONNECTIONS),
      atMost('growth of resident memory', most - before, 100, ' MB'),
    ];
  },
};

/** Sends a large body as fast as it is taken, and returns the statuses that came back before the connection ended. */
async function pour(scope: Scope, port: number, head: string, chunked: boolean): Promise<string> {
  const connection = connectRaw(scope, port);
  connection.write(`POST /webhook HTTP/1.1\r\nHost: a\r\n${head}`);
  const piece = Buffer.alloc(1024 * 1024, 'x');
  for (let sent = 0; sent < BODY_MEGABYTES && !connection.socket.closed; sent += 1) {
    if (chunked) connection.write(`${piece.length.toString(16)}\r\n`);
    const taken = connection.socket.write(piece);
    if (chunked) connection.write('\r\n');
    if (!taken) await Promise.race([new Promise((resolve) => connection.socket.once('drain', resolve)), connection.closed()]);
  }
  const answer = await connection.closed();
  return statusesIn(answer).join() || 'closed';
}
