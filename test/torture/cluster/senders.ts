/** What senders do all the while: each message again, to the other receiver, until one has acknowledged it. */
import { setTimeout as delay } from 'node:timers/promises';
import { message, sign } from '../../support/messages.ts';
import type { Scope } from '../../support/temporary.ts';
import { waitFor } from '../../support/wait.ts';
import type { Receiver } from './receivers.ts';

const SENDERS_EACH = 8;
/** Between two messages of a sender: some hundred a second in all. */
const PAUSE_MS = 40;
const RETRY_MS = 100;
const READ_EVERY_MS = 200;
/** Far longer than a request may take. */
const GIVE_UP_MS = 30_000;
/** One message of so many goes to both receivers at once. */
const TWIN_EVERY = 20;
const PHONES = 20;
const READS = ['/stats', '/messages?limit=10', '/health/ready'];

export interface Senders {
  readonly acknowledged: ReadonlySet<string>;
  /** Requests that were sent, of every kind. */
  requests(): number;
  /** The longest that a request has taken until its answer, or until its connection ended, in milliseconds; and which that was. */
  longest(): { readonly ms: number; readonly what: string };
  /** Waits until so many more messages are acknowledged. */
  acknowledges(messages: number): Promise<void>;
  /** Waits until a receiver has acknowledged a message after `begin` (of performance.now()), and returns when it did. */
  acknowledgedAfter(receiver: Receiver, begin: number): Promise<number>;
  /** Begins no more messages; resolves when all that were begun are acknowledged. */
  stop(): Promise<void>;
}

/** Sends to all receivers, and reads from them beside, until it is stopped or the scope ends. */
export function startSenders(scope: Scope, receivers: readonly Receiver[]): Senders {
  const acknowledged = new Set<string>();
  const lastAcknowledged = new Map<Receiver, number>();
  let begun = 0;
  let [isStopped, isOver] = [false, false];
  let requests = 0;
  let longest = { ms: 0, what: '' };

  /** The status, or null where there was no whole answer. */
  async function ask(receiver: Receiver, path: string, init: RequestInit): Promise<number | null> {
    const begin = performance.now();
    requests += 1;
    const answer = fetch(receiver.url + path, { ...init, signal: AbortSignal.timeout(GIVE_UP_MS) });
    const status = await answer.then(async (response) => {
      await response.text();
      return response.status;
    }).catch(() => null);
    const ms = performance.now() - begin;
    if (ms > longest.ms) longest = { ms, what: `${path} of ${receiver.name}, ${status ?? 'no answer'}` };
    return status;
  }

  async function deliver(number: number, first: number): Promise<void> {
    const id = `cluster-${number}`;
    const body = JSON.stringify(message({ message_id: id, from: `+1415555${1000 + number % PHONES}` }));
    const init = { method: 'POST', body, headers: { 'X-Signature': sign(body) } };
    for (let attempt = first; !isOver; attempt += 1) {
      const receiver = receivers[attempt % receivers.length];
      if (receiver !== undefined && await ask(receiver, '/webhook', init) === 200) {
        acknowledged.add(id);
        lastAcknowledged.set(receiver, performance.now());
        return;
      }
      await delay(RETRY_MS);
    }
  }

  async function send(first: number): Promise<void> {
    while (!isStopped) {
      begun += 1;
      const number = begun;
      const copies = number % TWIN_EVERY === 0 ? [first, first + 1] : [first];
      await Promise.all(copies.map((copy) => deliver(number, copy)));
      await delay(PAUSE_MS);
    }
  }

  async function read(receiver: Receiver): Promise<void> {
    while (!isStopped) {
      await Promise.all(READS.map((path) => ask(receiver, path, {})));
      await delay(READ_EVERY_MS);
    }
  }

  const all = Promise.all(receivers.flatMap((receiver, first) =>
    [read(receiver), ...Array.from({ length: SENDERS_EACH }, () => send(first))]));
  const stop = async () => {
    isStopped = true;
    await all;
  };
  scope.after(async () => {
    isOver = true;
    await stop();
  });
  return {
    acknowledged, stop, requests: () => requests, longest: () => longest,
    async acknowledges(messages) {
      const wanted = acknowledged.size + messages;
      await waitFor(`${messages} acknowledgements`, () => acknowledged.size >= wanted);
    },
    acknowledgedAfter: (receiver, begin) => waitFor(() => `an acknowledgement of ${receiver.name}\n${receiver.log()}`, () => {
      const last = lastAcknowledged.get(receiver);
      return last !== undefined && last >= begin && last;
    }),
  };
}
