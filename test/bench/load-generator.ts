/**
 * A process that sends HTTP requests over keep-alive connections and measures the answers; its job is its one argument, as
 * JSON, and its results are lines of JSON on stdout. It speaks HTTP by hand, because the fewer cycles it takes the less it
 * takes from the server beside it.
 *
 * Open loop: requests are due at random times whatever the answers (a Poisson process), and a latency counts from then, also where
 * every connection waits for an answer, so that a server that stalls cannot hide it (coordinated omission). But where this process
 * itself wakes up late, it counts from then: that lateness, which a sender on another machine would not have, is told apart. Closed
 * loop: each connection sends its next request when the last was answered.
 */
import { connect, type Socket } from 'node:net';
import { getRequest, random, randomMessage, webhookRequest } from './traffic.ts';

export interface Job {
  readonly port: number;
  readonly connections: number;
  readonly seconds: number;
  /** Absent: closed loop. */
  readonly perSecond?: number;
  /** What to send: messages, or GET requests of these targets in turn. */
  readonly send: Messages | { readonly targets: readonly string[] };
}

export interface Messages {
  readonly ids: 'random' | 'sequential';
  readonly secret: string;
  /** How many a closed loop may send, as each is made before the first is sent. */
  readonly most: number;
  /** Past those a closed loop begins again with the first, instead of ending. */
  readonly repeat?: boolean;
}

export interface Result {
  readonly event: 'result';
  /** Requests that were due; those without an answer are in no other figure. */
  readonly offered: number;
  /** From the first request to the last answer, or longer: to the end of the job. */
  readonly seconds: number;
  /** Of an open loop: by how much this process found requests due too late, in milliseconds; 99 of 100 by less. */
  readonly lateP99: number;
  /** How many answers had each status. */
  readonly statuses: Readonly<Record<string, number>>;
  /** Of the answers with status 200, in milliseconds, ascending: all of them, or a sample evenly spaced from the least to the most. */
  readonly latencies: readonly number[];
}

const MAX_RESPONSE_BYTES = 256 * 1024;
const HANDED_ON_LATENCIES = 20_000;
const DRAIN_MS = 10_000;

const job: Job = JSON.parse(process.argv[2] ?? '');
const requests = prepare(job);

const latencies = new Float64Array(8_000_000);
const statuses: Record<string, number> = {};
let answered = 0;
let accepted = 0;
let sent = 0;

function prepare({ send, perSecond, seconds }: Job): Buffer[] {
  if ('targets' in send) return send.targets.map(getRequest);
  const count = perSecond === undefined ? send.most : Math.ceil(perSecond * seconds * 1.1) + 1000;
  const begin = Date.now();
  const idOf = (index: number) => (send.ids === 'random' ? undefined : `bench-${begin}-${process.pid}-${String(index).padStart(9, '0')}`);
  return Array.from({ length: count }, (_, index) => webhookRequest(randomMessage(begin + index, idOf(index)), send.secret));
}

const isExhausted = () => 'ids' in job.send && job.send.repeat !== true && sent >= requests.length;

interface Connection {
  readonly socket: Socket;
  dueAt: number;
}

function open(onAnswer: (connection: Connection) => void): Promise<Connection> {
  return new Promise((resolve, reject) => {
    let expected = 0;
    let received = 0;
    const socket: Socket = connect({
      port: job.port, host: '127.0.0.1', noDelay: true,
      onread: {
        buffer: Buffer.allocUnsafe(MAX_RESPONSE_BYTES),
        callback(bytes, buffer) {
          if (received === 0) {
            const head = Buffer.from(buffer.buffer, buffer.byteOffset, Math.min(bytes, 600)).toString('latin1').toLowerCase();
            const end = head.indexOf('\r\n\r\n');
            const length = head.indexOf('content-length: ');
            if (end === -1 || length === -1) throw new Error(`an answer this generator cannot read: ${head}`);
            expected = end + 4 + Number.parseInt(head.slice(length + 16, length + 26), 10);
            const status = head.slice(9, 12);
            statuses[status] = (statuses[status] ?? 0) + 1;
            if (status === '200') latencies[accepted++] = performance.now() - connection.dueAt;
          }
          received += bytes;
          if (received < expected) return true;
          received = 0;
          answered += 1;
          onAnswer(connection);
          return true;
        },
      },
    });
    const connection: Connection = { socket, dueAt: 0 };
    socket.once('connect', () => resolve(connection)).once('error', reject);
  });
}

function sendNext(connection: Connection, dueAt: number): void {
  connection.dueAt = dueAt;
  const request = requests[sent % requests.length];
  sent += 1;
  if (request !== undefined) connection.socket.write(request);
}

interface Run {
  readonly offered: number;
  readonly seconds: number;
  readonly lateP99: number;
}

async function closedLoop(): Promise<Run> {
  const end = performance.now() + job.seconds * 1000;
  const { promise, resolve } = Promise.withResolvers<number>();
  const next = (connection: Connection) => {
    const now = performance.now();
    if (now < end && !isExhausted()) return sendNext(connection, now);
    if (answered === sent) resolve(now);
  };
  const connections = await Promise.all(Array.from({ length: job.connections }, () => open(next)));
  const begin = start();
  for (const connection of connections) sendNext(connection, performance.now());
  const finished = await promise;
  for (const { socket } of connections) socket.destroy();
  return { offered: sent, seconds: (finished - begin) / 1000, lateP99: 0 };
}

async function openLoop(perSecond: number): Promise<Run> {
  const due: number[] = [];
  const late: number[] = [];
  const idle: Connection[] = [];
  const next = (connection: Connection) => {
    const dueAt = due.shift();
    if (dueAt === undefined) idle.push(connection);
    else sendNext(connection, dueAt);
  };
  const connections = await Promise.all(Array.from({ length: job.connections }, () => open(next)));
  idle.push(...connections);
  const begin = start();
  const end = begin + job.seconds * 1000;
  let dueAt = begin;
  while (dueAt < end) {
    for (const now = performance.now(); dueAt <= now && dueAt < end; dueAt += (-Math.log(1 - random()) / perSecond) * 1000) {
      late.push(now - dueAt);
      const connection = idle.pop();
      if (connection === undefined) due.push(now);
      else sendNext(connection, now);
    }
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, Math.min(dueAt, end) - performance.now())));
  }
  while ((answered < sent || due.length > 0) && performance.now() < end + DRAIN_MS) await new Promise((resolve) => setTimeout(resolve, 1));
  const finished = performance.now();
  for (const { socket } of connections) socket.destroy();
  const lateP99 = late.sort((a, b) => a - b)[Math.floor(late.length * 0.99)] ?? 0;
  return { offered: sent + due.length, seconds: (finished - begin) / 1000, lateP99 };
}

function start(): number {
  console.log(JSON.stringify({ event: 'started' }));
  return performance.now();
}

const { offered, seconds, lateP99 } = await (job.perSecond === undefined ? closedLoop() : openLoop(job.perSecond));
const sorted = latencies.subarray(0, accepted).sort();
const handedOn = Math.min(sorted.length, HANDED_ON_LATENCIES);
const step = (sorted.length - 1) / Math.max(1, handedOn - 1);
const sample = Array.from({ length: handedOn }, (_, index) => sorted[Math.round(index * step)] ?? NaN);
const result: Result = { event: 'result', offered, seconds, lateP99, statuses, latencies: sample };
console.log(JSON.stringify(result));
