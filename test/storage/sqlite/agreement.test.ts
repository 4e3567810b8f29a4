/** Reads from indexes and kept counts have to say the same as a plain look at every message. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, describe, test } from 'node:test';
import { instantOf, type Message } from '../../../src/message.ts';
import type { Arrivals, MessageFilter, MessageQuery, Position, Stats, Storage, StoredMessages } from '../../../src/storage/storage.ts';
import { createRandom } from '../../support/random.ts';
import { REFERENCE_SCHEMA } from '../../support/reference-schema.ts';
import { openTestStorage } from '../../support/storage.ts';
import { temporaryFolder } from '../../support/temporary.ts';
import { waitFor } from '../../support/wait.ts';

/** More than two segments of trigrams, with parts beside them, and two partitions of the order by sender. */
const MESSAGES = 80_000;
const APPENDED = 300;
const QUERIES = 40;
const random = createRandom(Number(process.env['FUZZ_SEED'] ?? 20_250_115));
const BEGIN = Date.UTC(2025, 0, 15);

const MANY_AT_ONE_INSTANT_MS = 90 * 60_000;

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
const WORDS = ['alpha', 'BETA', 'ÉCOLE', 'école', '100%', 'a_b', '😀', 'gamma', 'delta', 'x'] as const;

function randomMessage(index: number): Message {
  const words = () => random.text(8, () => `${random.pick(WORDS)} `);
  return {
    message_id: `${random.pick(['m', 'é', '\uffee', '😀'])}${index}`, from: randomSender(), to: '+12', ts: randomTs(index),
    text: random.below(20) === 0 ? null : words() + (random.below(1000) === 0 ? 'needle' : ''),
  };
}

const instantAfter = (ms: number) => instantOf(new Date(BEGIN + ms).toISOString()) ?? '';

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
    offset: random.pick([0, 0, 1, 100, 30_000, MESSAGES]),
    ...(maybe(40) && { newestFirst: true }),
    ...(maybe(40) && { from: maybe(95) ? randomSender() : 'nobody' }),
    ...(maybe(40) && { since: randomSince() }),
    ...(maybe(50) && { q: random.pick(['needle', 'NEEDLE', 'eta ', 'É', 'école', 'OLE g', '0%', '😀 😀', 'x x', 'a_', 'nowhere', 'alpha BETA gamma']) }),
  };
}

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

/** Of messages of before the upgrade, those of the second half have a time of receipt, but for some. */
const receivedAtOf = (index: number) => (index < MESSAGES / 2 || index % 997 === 0 ? null : BEGIN + index * 1000);
/** In milliseconds since 1970. */
let now = BEGIN + MESSAGES * 1000;
const KEPT_MS = MESSAGES * 1000;

const path = join(temporaryFolder({ after }), 'app.db');
const messages = Array.from({ length: MESSAGES }, (_, index) => randomMessage(index));
const models = messages.map(modelOf);
makeReferenceFile();
const receipts = new Map(messages.map(({ message_id }, index) => [message_id, receivedAtOf(index)]));
const openStorage = () => openTestStorage({ after }, path, {}, { now: () => now, retention: { keepMs: KEPT_MS, rememberMs: 1000 } });
let storage = await openStorage();

function makeReferenceFile(): void {
  const database = new DatabaseSync(path);
  database.exec(`${REFERENCE_SCHEMA}; ALTER TABLE messages ADD COLUMN received_at INTEGER; BEGIN`);
  const insert = database.prepare('INSERT INTO messages(message_id, from_number, to_number, ts, text, received_at) VALUES (?, ?, ?, ?, ?, ?)');
  messages.forEach(({ message_id, from, to, ts, text }, index) => insert.run(message_id, from, to, ts, text, receivedAtOf(index)));
  database.exec('COMMIT');
  database.close();
}

function countArrivals(): Arrivals[] {
  const minutes = models.flatMap(({ message }) => receipts.get(message.message_id) ?? []).map((at) => Math.floor(at / 60_000));
  return [...Map.groupBy(minutes, (minute) => minute)].map(([minute, { length }]) => ({ minute, count: length })).toSorted((a, b) => a.minute - b.minute);
}

/** Some messages vanish from the model as from the storage. */
function forget(isGone: (model: Model) => boolean): number {
  const before = models.length;
  models.splice(0, before, ...models.filter((model) => !isGone(model)));
  return before - models.length;
}

async function eraseSome(): Promise<void> {
  const top = (await storage.stats()).topSenders;
  const from = top[random.below(top.length)]?.from ?? '';
  assert.equal(await storage.erase({ from }, 'request'), forget(({ message }) => message.from === from));
  for (let count = 0; count < 20; count += 1) {
    const { message_id } = models[random.below(models.length)]?.message ?? {};
    if (message_id !== undefined) assert.equal(await storage.erase({ message_id }, 'request'), forget(({ message }) => message.message_id === message_id));
  }
}

/** Lets those expire of before that many seconds after the beginning. */
async function expireUntil(seconds: number): Promise<void> {
  now = BEGIN + seconds * 1000 + KEPT_MS;
  forget(({ message }) => (receipts.get(message.message_id) ?? Infinity) < now - KEPT_MS);
  await waitFor('messages to vanish', async () => (await storage.list({ limit: 1, offset: 0 })).total === models.length);
}

const isRemoved = () => {
  const database = new DatabaseSync(path, { readOnly: true });
  const { rows } = database.prepare('SELECT count(*) AS rows FROM messages').get() ?? {};
  database.close();
  return rows === models.length;
};

async function checkAll(): Promise<void> {
  const all = models.toSorted(compareModels);
  const everything = { all, bySender: Map.groupBy(all, ({ message }) => message.from) };
  assert.deepEqual(await storage.stats(), count(everything));
  assert.deepEqual(await storage.arrivals(0), countArrivals());
  const queries = Array.from({ length: QUERIES }, randomQuery);
  for (let ms = 0; ms < MESSAGES * 1500; ms += MANY_AT_ONE_INSTANT_MS) {
    queries.push({ limit: 1, offset: 0, from: randomSender(), since: instantAfter(ms) });
  }
  for (const [filter, limit] of [[{}, 500], [{ q: 'needle' }, 1], [{ from: randomSender(), q: '0%' }, 7]] as const) {
    assert.deepEqual(await readStored(filter, limit), models.filter(matcherOf(filter)).map(({ message }) => message), JSON.stringify(filter));
  }
  for (const query of queries) {
    const page = await storage.list(query);
    assert.deepEqual(page, look(everything, query), JSON.stringify(query));
    if (page.next === null) continue;
    const following = { ...query, offset: 0, after: page.next };
    assert.deepEqual(await storage.list(following), look(everything, following), JSON.stringify(following));
  }
}

/** All that was stored, in that order, part by part. */
async function readStored(filter: MessageFilter, limit: number): Promise<Message[]> {
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

async function append(storing: Storage): Promise<void> {
  const more = Array.from({ length: APPENDED }, (_, index) => {
    const one = randomMessage(messages.length + index);
    return index % 50 === 0 ? { ...one, from: `+7${messages.length + index}` } : one;
  });
  messages.push(...more);
  models.push(...more.map(modelOf));
  for (const { message_id } of more) receipts.set(message_id, now);
  await Promise.all(more.map((message) => storing.append(message)));
}

const indexed = () => waitFor('the index', () => storage.degraded().length === 0 && storage.indexLag() === 0);

describe('reads say the same as a plain look at every message', () => {
  test('of a file that was indexed as a whole', async () => {
    await indexed();
    const index = new DatabaseSync(`${path}-index`, { readOnly: true });
    for (const table of ['partitions', 'segments', 'parts']) {
      // The texts are taken in behind the messages.
      await waitFor(`two ${table}`, () => Number(index.prepare(`SELECT count(*) AS rows FROM ${table}`).get()?.['rows']) >= 2);
    }
    index.close();
    await checkAll();
  });

  test('while some are not in the index yet', async (t) => {
    const holder = new DatabaseSync(`${path}-index`, { timeout: 5000 });
    t.after(() => holder.close());
    holder.exec('BEGIN IMMEDIATE');
    for (let round = 1; round <= 2; round += 1) {
      await append(storage);
      await checkAll();
      assert.equal(storage.indexLag(), round * APPENDED);
    }
  });

  test('while some are hidden that are in the index, and some that are not', async (t) => {
    await indexed();
    const holder = new DatabaseSync(`${path}-index`, { timeout: 5000 });
    t.after(() => holder.close());
    holder.exec('BEGIN IMMEDIATE');
    await append(storage);
    await eraseSome();
    await checkAll();
    await expireUntil(MESSAGES * 0.6);
    await checkAll();
    await eraseSome();
    await append(storage);
    await checkAll();
  });

  test('when those are removed', async () => {
    await waitFor('the removal', isRemoved);
    await checkAll();
    await eraseSome();
    await expireUntil(MESSAGES * 0.9);
    await checkAll();
    await waitFor('the removal', isRemoved);
    await checkAll();
  });

  test('once they are', async () => {
    await indexed();
    await checkAll();
  });

  test('after a restart', async () => {
    await append(storage);
    await storage.close();
    storage = await openStorage();
    await checkAll();
    await indexed();
    await checkAll();
  });
});
