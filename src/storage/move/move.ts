/**
 * Takes all messages from where they are to where they are to be, in the order of storing. What is there already has to be what comes
 * first on the other side: so a move that was cut off goes on, whenever that was, and none is stored twice or between others.
 */
import { createHash } from 'node:crypto';
import { StartRefused } from '../../errors.ts';
import type { Sequence } from '../storage.ts';
import type { Side, KeptMessage, TargetSide } from './sides.ts';

/** Messages read at once, and stored in one transaction. */
const BATCH_MESSAGES = 5000;
/** Most messages that an operator is told of one by one. */
const MOST_NAMED = 20;

export type MoveStep = 'checking' | 'copying' | 'indexing' | 'comparing';

/** `done` of `messages`, of which there may be more by now. */
export type TellProgress = (step: MoveStep, done: number, messages: number) => void;

/** How many messages a side has, and what they are. */
export interface Contents {
  readonly messages: number;
  /** SHA-256, in hex, over all of them in the order of storing, with when they came. */
  readonly sha256: string;
}

export interface MoveReport {
  readonly source: Contents;
  readonly target: Contents;
  readonly isEqual: boolean;
}

/**
 * Moves what is missing, and then reads both sides from the beginning to compare them. Rejects with StartRefused where the target has
 * messages of its own, or cannot hold one, before anything is written; and as the sides do.
 */
export async function move(source: Side, target: TargetSide, tell: TellProgress): Promise<MoveReport> {
  const messages = await source.count();
  const taken = await target.count();
  const [there, sent] = [createDigest(), createDigest()];
  await readAll(target, there.add, () => tell('checking', there.messages(), messages));
  const last = await check({ source, target, taken, sent, tell: (done) => tell('checking', done, messages) });
  if (there.contents().sha256 !== sent.contents().sha256) throw new StartRefused([OTHERS]);
  await target.begin(taken);

  let done = taken;
  await readAll(source, async (moved) => {
    await target.takeOver(moved);
    tell('copying', done += moved.length, messages);
  }, () => {}, last);
  tell('indexing', done, messages);
  await target.complete();
  return await compare(source, target, (compared) => tell('comparing', compared, messages));
}

const OTHERS = 'TARGET has messages that are not those with which SOURCE begins: name an empty one, or the one that was begun';

interface Check {
  readonly source: Side;
  readonly target: TargetSide;
  /** How many messages the target has. */
  readonly taken: number;
  /** Gets as many of the first ones. */
  readonly sent: Digest;
  readonly tell: (done: number) => void;
}

/** Looks at every message whether the target can hold it. Resolves with the sequence of the last one that is there already. */
async function check({ source, target, taken, sent, tell }: Check): Promise<Sequence | null> {
  let last: Sequence | null = null;
  let done = 0;
  let refused = 0;
  const named: string[] = [];
  await readAll(source, (moved) => {
    for (const one of moved) {
      const refusal = target.refusalOf(one);
      if (refusal === null) continue;
      refused += 1;
      if (named.length < MOST_NAMED) named.push(`${one.sequence} (${refusal})`);
    }
    const first = moved.slice(0, Math.max(0, taken - done));
    sent.add(first);
    last = first.at(-1)?.sequence ?? last;
    done += moved.length;
  }, () => tell(done));
  if (refused === 0) return last;
  throw new StartRefused([`SOURCE has ${refused} messages that TARGET cannot hold; their row ids: ${named.join(', ')}${
    refused > named.length ? ', …' : ''}. Correct or delete them (in a copy, if SOURCE is to stay as it is), and begin again`]);
}

async function compare(source: Side, target: Side, tell: (done: number) => void): Promise<MoveReport> {
  const read = async (side: Side, told: (done: number) => void): Promise<Contents> => {
    const digest = createDigest();
    await readAll(side, digest.add, () => told(digest.messages()));
    return digest.contents();
  };
  const [ofSource, ofTarget] = await Promise.all([read(source, () => {}), read(target, tell)]);
  return { source: ofSource, target: ofTarget, isEqual: ofSource.messages === ofTarget.messages && ofSource.sha256 === ofTarget.sha256 };
}

type TakeMessages = (moved: readonly KeptMessage[]) => void | Promise<void>;

async function readAll(side: Side, take: TakeMessages, taken: () => void, begin: Sequence | null = null): Promise<void> {
  let after = begin;
  for (;;) {
    const moved = await side.read(after, BATCH_MESSAGES);
    const last = moved.at(-1);
    if (last === undefined) return;
    await take(moved);
    taken();
    after = last.sequence;
  }
}

interface Digest {
  add(moved: readonly KeptMessage[]): void;
  messages(): number;
  contents(): Contents;
}

function createDigest(): Digest {
  const hash = createHash('sha256');
  let messages = 0;
  return {
    add(moved) {
      for (const { message: { message_id, from, to, ts, text }, received_at } of moved) {
        hash.update(`${JSON.stringify([message_id, from, to, ts, text, received_at])}\n`);
      }
      messages += moved.length;
    },
    messages: () => messages,
    contents: () => ({ messages, sha256: hash.copy().digest('hex') }),
  };
}
