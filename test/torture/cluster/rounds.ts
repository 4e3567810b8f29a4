import type { Cluster } from './cluster.ts';
import type { Node } from './node.ts';
import type { Receiver } from './receivers.ts';
import type { Senders } from './senders.ts';

/** What befalls the primary, and how it is put right once another has taken its place. */
interface Mishap {
  befall(primary: Node): void | Promise<void>;
  mend(before: Node): void;
}

const MISHAPS: ReadonlyMap<string, Mishap> = new Map<string, Mishap>([
  ['primary killed (-9)', { befall: (primary) => primary.kill(), mend: (before) => before.start() }],
  ['primary frozen (SIGSTOP)', { befall: (primary) => primary.freeze(), mend: (before) => before.thaw() }],
  ['primary cut off', { befall: (primary) => primary.cutOff(), mend: (before) => before.reconnect() }],
  ['switchover', { befall: (primary) => primary.handOver(), mend() {} }],
]);

/** Of the rounds, in the order in which they come. */
export const KINDS = [...MISHAPS.keys(), 'receiver killed (-9)'];

/** Messages acknowledged before a mishap, while all is well: a random number up to this, so that it comes at any moment of a batch. */
const MOST_BEFORE = 1000;

export interface Participants {
  readonly cluster: Cluster;
  readonly receivers: readonly [Receiver, Receiver];
  readonly senders: Senders;
}

/** How long it took, in seconds. */
export interface Round {
  readonly kind: string;
  /** From the mishap until there was a new primary, or until the receiver lived again. */
  readonly down: number;
  /** From then on, until each receiver had acknowledged a message. */
  readonly accepting: readonly number[];
  /** From the mishap until all was as before. */
  readonly whole: number;
}

/** Lets one mishap befall a whole cluster, and makes it whole again. A receiver is the first where `number` is even, else the second. */
export async function runRound(kind: string, number: number, { cluster, receivers, senders }: Participants): Promise<Round> {
  await senders.acknowledges(1 + Math.floor(Math.random() * MOST_BEFORE));
  const begin = performance.now();
  const secondsSince = (time: number, until = performance.now()) => (until - time) / 1000;
  const mishap = MISHAPS.get(kind);
  const before = await cluster.primary();
  const up = mishap === undefined ? await restart(receivers[number % 2 === 0 ? 0 : 1]) : await replace(before, cluster, mishap);
  const accepting = await Promise.all(receivers.map(async (receiver) => secondsSince(up, await senders.acknowledgedAfter(receiver, up))));
  mishap?.mend(before);
  await cluster.whole();
  return { kind, down: secondsSince(begin, up), accepting, whole: secondsSince(begin) };
}

async function restart(receiver: Receiver): Promise<number> {
  await receiver.kill();
  await receiver.start();
  return performance.now();
}

/** Returns when there was another primary: Patroni may say only later that a switchover is done. */
async function replace(before: Node, cluster: Cluster, { befall }: Mishap): Promise<number> {
  const another = cluster.primary(before).then(() => performance.now());
  await befall(before);
  return another;
}
