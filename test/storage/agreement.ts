/** Reads from indexes and kept counts have to say the same as a plain look at every message: messages and questions at random, and the look. */
import assert from 'node:assert/strict';
import { instantOf, type Message } from '../../src/message.ts';
import type { MessageFilter, MessageQuery, Position, Stats, Storage, StoredMessages } from '../../src/storage/storage.ts';
import type { Random } from '../support/random.ts';

/** So many are appended at once. */
export const APPENDED = 300;
const QUERIES = 40;
const BEGIN = Date.UTC(2025, 0, 15);

const MANY_AT_ONE_INSTANT_MS = 90 * 60_000;

const SOUGHT = [
  'needle', 'NEEDLE', 'eta ', 'É', 'école', 'OLE g', '0%', '😀 😀', 'x x', 'a_', 'nowhere', 'alpha BETA gamma',
] as const;
const WORDS = ['alpha', 'BETA', 'ÉCOLE', 'école', '100%', 'a_b', '😀', 'gamma', 'delta', 'x'] as const;

const instantAfter = (ms: number) => instantOf(new Date(BEGIN + ms).toISOString()) ?? '';


const byBytes = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b));
const lower = (text: string) => text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());

/** A message with its place, and what a look at it needs again and again. */
interface Model {
  readonly message: Message;
  readonly position: Position;
  readonly text: string | null;
}

const modelOf = (message: Message): Model => ({
  message, position: { instant: instantOf(message.ts) ?? message.ts, message_id: message.message_id },
  text: message.text === null ? null : lower(message.text),
});

/** Instants are ASCII here, so that their order as strings is that of their bytes. */
const compareInstants = (a: string, b: string) => Number(a > b) - Number(a < b);
const compareModels = ({ position: a }: Model, { position: b }: Model) => compareInstants(a.instant, b.instant) || byBytes(a.message_id, b.message_id);

/** What tells whether a message passes the filter. */
function matcherOf({ from, q }: MessageFilter): (model: Model) => boolean {
  const sought = q === undefined ? undefined : lower(q);
  return ({ message, text }) => (from === undefined || message.from === from) && (sought === undefined || (text !== null && text.includes(sought)));
}

/** Every message in order, and those of each sender. */
interface Everything {
  readonly all: readonly Model[];
  readonly bySender: ReadonlyMap<string, readonly Model[]>;
}

function look({ all, bySender }: Everything, { limit, offset, after, since = '', newestFirst, ...filter }: MessageQuery) {
  const ofSender = filter.from === undefined ? all : bySender.get(filter.from) ?? [];
  const first = ofSender.findIndex(({ position }) => position.instant >= since);
  const found = first === -1 ? [] : ofSender.slice(first).filter(matcherOf(filter));
  const matching = newestFirst === true ? found.toReversed() : found;
  const behind = after === undefined ? matching : matching.slice(matching.findIndex(({ position }) => position.message_id === after.message_id) + 1);
  const page = behind.slice(offset, offset + limit);
  const next = behind.length > offset + limit ? page.at(-1)?.position ?? null : null;
  return { items: page.map(({ message }) => message), total: matching.length, next };
}

function count({ all, bySender }: Everything): Stats {
  const counts = [...bySender].map(([from, { length }]) => ({ from, count: length }));
  const topSenders = counts.toSorted((a, b) => b.count - a.count || byBytes(a.from, b.from)).slice(0, 10);
  return { total: all.length, senders: bySender.size, topSenders, firstTs: all[0]?.message.ts ?? null, lastTs: all.at(-1)?.message.ts ?? null };
}

/** All that was stored, in that order, part by part. */
async function readStored(storage: Storage, filter: MessageFilter, limit: number): Promise<Message[]> {
  const found: Message[] = [];
  for (let after = storage.beforeAll; ;) {
    const part: StoredMessages = await storage.stored({ ...filter, after, limit });
    assert.ok(part.items.length <= limit);
    found.push(...part.items.map(({ message }) => message));
    if (part.isAll) return found;
    assert.ok(BigInt(part.through) > BigInt(after));
    after = part.through;
  }
}


export interface Corpus {
  /** All, in the order in which they were made. */
  readonly messages: readonly Message[];
  /** Makes more messages, which have to be stored in this order before the next check. */
  add(more: readonly Message[]): readonly Message[];
  /** As many as `APPENDED`, some of new senders. */
  draw(): Message[];
  /** Asks the storage, which has all messages, at random, and for `queries`. */
  check(storage: Storage, queries?: readonly MessageQuery[]): Promise<void>;
}

/** Makes `size` messages. */
export function createCorpus(random: Random, size: number): Corpus {
  /** Most come in the order of time, many at one instant, some late, some of a far future, some at no time at all. */
  function randomTs(index: number): string {
    const kind = random.below(100);
    if (kind === 0) return 'yesterday';
    const inOrder = index * 1500 + random.below(5000);
    const at = kind < 5 ? random.below(400 * 86_400_000) : inOrder - (kind < 60 ? inOrder % MANY_AT_ONE_INSTANT_MS : 0);
    const iso = new Date(BEGIN + (kind === 5 ? 10 ** 12 : 0) + at).toISOString();
    return random.below(2) === 0 ? iso : iso.replace(/\.\d+Z/, 'Z');
  }

  const randomSender = () => `+9${10 + Math.floor((random.below(40) * random.below(40)) / 20)}`;

  function randomMessage(index: number): Message {
    const words = () => random.text(8, () => `${random.pick(WORDS)} `);
    return {
      message_id: `${random.pick(['m', 'é', '\uffee', '😀'])}${index}`, from: randomSender(), to: '+12', ts: randomTs(index),
      text: random.below(20) === 0 ? null : words() + (random.below(1000) === 0 ? 'needle' : ''),
    };
  }

  const messages = Array.from({ length: size }, (_, index) => randomMessage(index));
  const models = messages.map(modelOf);

  /** The instant of one of all or of the newest messages, or another. */
  function randomSince(): string {
    const found = messages[messages.length - 1 - random.below(random.pick([APPENDED, messages.length]))];
    const another = instantAfter(random.below(150_000_000));
    return random.below(3) === 0 ? another : instantOf(found?.ts ?? '') ?? another;
  }

  function randomQuery(): MessageQuery {
    const maybe = (share: number) => random.below(100) < share;
    return {
      limit: 1 + random.below(100),
      offset: random.pick([0, 0, 1, 100, 30_000, size]),
      ...(maybe(40) && { newestFirst: true }),
      ...(maybe(40) && { from: maybe(95) ? randomSender() : 'nobody' }),
      ...(maybe(40) && { since: randomSince() }),
      ...(maybe(50) && { q: random.pick(SOUGHT) }),
    };
  }

  async function check(storage: Storage, given: readonly MessageQuery[] = []): Promise<void> {
    const all = models.toSorted(compareModels);
    const everything = { all, bySender: Map.groupBy(all, ({ message }) => message.from) };
    assert.deepEqual(await storage.stats(), count(everything));
    const queries = [...given, ...Array.from({ length: QUERIES }, randomQuery)];
    for (let ms = 0; ms < size * 1500; ms += MANY_AT_ONE_INSTANT_MS) {
      queries.push({ limit: 1, offset: 0, from: randomSender(), since: instantAfter(ms) });
    }
    for (const [filter, limit] of [[{}, 500], [{ q: 'needle' }, 1], [{ from: randomSender(), q: '0%' }, 7]] as const) {
      const expected = models.filter(matcherOf(filter)).map(({ message }) => message);
      assert.deepEqual(await readStored(storage, filter, limit), expected, JSON.stringify(filter));
    }
    for (const query of queries) {
      const page = await storage.list(query);
      assert.deepEqual(page, look(everything, query), JSON.stringify(query));
      if (page.next === null) continue;
      const following = { ...query, offset: 0, after: page.next };
      assert.deepEqual(await storage.list(following), look(everything, following), JSON.stringify(following));
    }
  }

  return {
    messages, check,
    add(more) {
      messages.push(...more);
      models.push(...more.map(modelOf));
      return more;
    },
    draw: () => Array.from({ length: APPENDED }, (_, index) => {
      const one = randomMessage(messages.length + index);
      return index % 50 === 0 ? { ...one, from: `+7${messages.length + index}` } : one;
    }),
  };
}
