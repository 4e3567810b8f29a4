/** What every storage adapter has to do when messages are erased or expire: a part of `contract.ts`. */
import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { instantOf, type Message } from '../../src/message.ts';
import type { MessageQuery, Position, Stats, Storage, StorageOptions, StoredMessages } from '../../src/storage/storage.ts';
import { message } from '../support/messages.ts';
import { waitFor } from '../support/wait.ts';

/** Options of a storage that a test may choose. */
export type LifeOptions = Partial<Pick<StorageOptions, 'now' | 'retention'>>;

export interface StorageUnderTest {
  readonly storage: Storage;
  /** Closes the storage and opens it again on the same data, with the same options. */
  reopen(): Promise<Storage>;
  /** Resolves when nothing is left of messages that are in no answer any more. */
  removed(): Promise<void>;
}

export type OpenStorageUnderTest = (t: TestContext, options?: LifeOptions) => Promise<StorageUnderTest>;

const MS_PER_MINUTE = 60_000;
const BEGIN = Date.UTC(2025, 0, 15);
const SENDERS = 14;

/** A message and when it was received, in the order of storing. */
interface Model {
  readonly message: Message;
  readonly receivedAt: number;
}

/** A clock that tests move. */
function createClock() {
  let now = BEGIN;
  return { now: () => now, advance: (ms: number) => { now += ms; } };
}

const byBytes = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b));
const placeOf = ({ ts, message_id }: Message): Position => ({ instant: instantOf(ts) ?? ts, message_id });
function inOrder(messages: readonly Message[]): Message[] {
  return messages.toSorted((one, other) => {
    const [a, b] = [placeOf(one), placeOf(other)];
    return byBytes(a.instant, b.instant) || byBytes(a.message_id, b.message_id);
  });
}

/** The senders have more messages the lower their number; times are in another order than ids. */
function variedMessage(index: number): Message {
  const sender = Math.floor(SENDERS * ((index * 7919) % 1000 / 1000) ** 2);
  return message({
    message_id: `id-${index}`, from: `+49${100 + sender}`, to: index % 3 === 0 ? '+4930' : '+4940',
    ts: new Date(BEGIN - ((index * 37) % 100) * MS_PER_MINUTE).toISOString(), text: index % 4 === 0 ? `needle ${index}` : `straw ${index}`,
  });
}

async function store(storage: Storage, clock: ReturnType<typeof createClock>, models: Model[], messages: readonly Message[]): Promise<void> {
  const receivedAt = clock.now();
  for (const one of messages) {
    assert.equal(await storage.append(one), 'stored');
    models.push({ message: one, receivedAt });
  }
}

async function storeVaried(storage: Storage, clock: ReturnType<typeof createClock>, models: Model[], count = 120): Promise<void> {
  const messages = Array.from({ length: count }, (_, index) => variedMessage(models.length + index));
  const receivedAt = clock.now();
  assert.deepEqual(new Set(await Promise.all(messages.map((one) => storage.append(one)))), new Set(['stored']));
  models.push(...messages.map((one) => ({ message: one, receivedAt })));
}

function statsOf(messages: readonly Message[]): Stats {
  const counts = [...Map.groupBy(messages, ({ from }) => from)].map(([from, { length }]) => ({ from, count: length }));
  const ordered = inOrder(messages);
  return {
    total: messages.length, senders: counts.length, topSenders: counts.toSorted((a, b) => b.count - a.count || byBytes(a.from, b.from)).slice(0, 10),
    firstTs: ordered[0]?.ts ?? null, lastTs: ordered.at(-1)?.ts ?? null,
  };
}

type Filter = Pick<MessageQuery, 'from' | 'q' | 'since'>;

function matches(one: Message, { from, q, since }: Filter): boolean {
  return (from === undefined || one.from === from) && (q === undefined || one.text?.includes(q) === true) &&
    (since === undefined || placeOf(one).instant >= since);
}

async function readAll(storage: Storage, filter: Pick<Filter, 'from' | 'q'>, after: string): Promise<string[]> {
  const ids: string[] = [];
  for (;;) {
    const part: StoredMessages = await storage.stored({ ...filter, after, limit: 7 });
    ids.push(...part.items.map((item) => item.message.message_id));
    if (part.isAll) return ids;
    assert.ok(BigInt(part.through) > BigInt(after));
    after = part.through;
  }
}

/** Every answer is that of these messages and no others. */
async function requireShown(storage: Storage, models: readonly Model[]): Promise<void> {
  const messages = models.map((model) => model.message);
  const ordered = inOrder(messages);
  assert.deepEqual(await storage.stats(), statsOf(messages));
  const minutes = [...Map.groupBy(models, ({ receivedAt }) => Math.floor(receivedAt / MS_PER_MINUTE))];
  assert.deepEqual(await storage.arrivals(0), minutes.map(([minute, { length }]) => ({ minute, count: length })).toSorted((a, b) => a.minute - b.minute));
  const filters: Filter[] = [{}, { from: '+49100' }, { from: '+49101' }, { from: '+49113' }, { q: 'needle' }, { q: 'ne' }, { from: '+49100', q: 'straw' },
    ...[30, 60, 90].flatMap((minute): Filter[] => {
      const since = instantOf(new Date(BEGIN - minute * MS_PER_MINUTE).toISOString()) ?? '';
      return [{ since }, { since, from: '+49100' }, { since, q: 'straw' }];
    })];
  for (const filter of filters) {
    const expected = ordered.filter((one) => matches(one, filter));
    for (const offset of [0, 3, 50]) {
      const page = await storage.list({ limit: 10, offset, ...filter });
      assert.deepEqual([page.items, page.total], [expected.slice(offset, offset + 10), expected.length], JSON.stringify({ filter, offset }));
    }
    for (const newestFirst of [false, true]) {
      const paged: Message[] = [];
      for (let after: Position | null | undefined; after !== null;) {
        const page = await storage.list({ limit: 9, offset: 0, newestFirst, ...filter, ...(after && { after }) });
        assert.equal(page.total, expected.length);
        paged.push(...page.items);
        after = page.next;
      }
      assert.deepEqual(paged, newestFirst ? expected.toReversed() : expected, JSON.stringify({ filter, newestFirst }));
    }
  }
  for (const filter of [{}, { from: '+49100' }, { q: 'needle' }]) {
    assert.deepEqual(await readAll(storage, filter, storage.beforeAll), messages.filter((one) => matches(one, filter)).map(({ message_id }) => message_id));
  }
}

/** Right after, when all is removed, and after a restart. */
async function requireShownAtLast(under: StorageUnderTest, models: readonly Model[]): Promise<Storage> {
  await requireShown(under.storage, models);
  await under.removed();
  await requireShown(under.storage, models);
  const again = await under.reopen();
  await requireShown(again, models);
  return again;
}

export function testRemovalContract(open: OpenStorageUnderTest): void {
  describe('erase', () => {
    const kinds = {
      'of one sender': [{ from: '+49100' }, (one: Message) => one.from === '+49100'],
      'to one number': [{ to: '+4930' }, (one: Message) => one.to === '+4930'],
      'of one id': [{ message_id: 'id-17' }, (one: Message) => one.message_id === 'id-17'],
      'of which there are none': [{ from: '+49999' }, () => false],
    } as const;
    for (const [kind, [which, isErased]] of Object.entries(kinds)) {
      test(`takes messages ${kind} out of every answer, and only those`, async (t) => {
        const clock = createClock();
        const under = await open(t, { now: clock.now });
        const models: Model[] = [];
        await storeVaried(under.storage, clock, models);
        clock.advance(MS_PER_MINUTE);
        await storeVaried(under.storage, clock, models);
        await requireShown(under.storage, models);
        const left = models.filter((model) => !isErased(model.message));
        assert.equal(await under.storage.erase(which, 'request-1'), models.length - left.length);
        const again = await requireShownAtLast(under, left);
        assert.equal(await again.erase(which, 'request-2'), 0);
        await requireShown(again, left);
      });
    }

    test('answers repeats of what was erased as repeats, whatever they say, and stores nothing', async (t) => {
      const clock = createClock();
      const under = await open(t, { now: clock.now, retention: { keepMs: null, rememberMs: 1000 } });
      await under.storage.append(message({ message_id: 'erased' }));
      assert.equal(await under.storage.erase({ message_id: 'erased' }, 'request'), 1);
      const requireRepeat = async (storage: Storage) => {
        for (const text of ['Hello', 'other', null]) assert.equal(await storage.append(message({ message_id: 'erased', text })), 'duplicate');
        assert.deepEqual(await storage.stats(), statsOf([]));
        assert.equal(await storage.erase({ message_id: 'erased' }, 'request'), 0);
      };
      await requireRepeat(under.storage);
      await under.removed();
      await requireRepeat(under.storage);
      clock.advance(10 * 365 * 86_400_000);
      await requireRepeat(await under.reopen());
    });

    test('keeps what the same sender sends afterwards, and its place in the order of storing', async (t) => {
      const clock = createClock();
      const under = await open(t, { now: clock.now });
      const { storage } = under;
      const models: Model[] = [];
      await storeVaried(storage, clock, models, 30);
      const before = await storage.newestSequence();
      assert.ok(await storage.erase({ from: '+49100' }, 'request') > 0);
      await store(storage, clock, models, [message({ message_id: 'after', from: '+49100' })]);
      const left = models.filter(({ message: { from, message_id } }) => from !== '+49100' || message_id === 'after');
      await requireShown(storage, left);
      await under.removed();
      const again = await requireShownAtLast(under, left);
      assert.deepEqual(await readAll(again, {}, before), ['after']);
      assert.ok(await again.holds({ generation: storage.generation, sequence: before }));
    });

    test('leaves positions good that were handed out before, though what they point at is gone', async (t) => {
      const clock = createClock();
      const under = await open(t, { now: clock.now });
      const { storage } = under;
      for (const message_id of ['a', 'b', 'c', 'd']) await storage.append(message({ message_id }));
      const { next } = await storage.list({ limit: 2, offset: 0 });
      const { through } = await storage.stored({ after: storage.beforeAll, limit: 2 });
      assert.ok(next !== null);
      await storage.erase({ message_id: 'b' }, 'request');
      await storage.erase({ message_id: 'd' }, 'request');
      for (const settle of [async () => {}, under.removed]) {
        await settle();
        const page = await storage.list({ limit: 2, offset: 0, after: next });
        assert.deepEqual([page.items.map(({ message_id }) => message_id), page.total, page.next], [['c'], 2, null]);
        assert.deepEqual(await readAll(storage, {}, through), ['c']);
      }
      // A number is never used again.
      const newest = await storage.newestSequence();
      const reopened = await under.reopen();
      await reopened.append(message({ message_id: 'e' }));
      assert.deepEqual(await readAll(reopened, {}, newest), ['e']);
    });

    test('erases all of an inbox, while others are stored', async (t) => {
      const clock = createClock();
      const under = await open(t, { now: clock.now });
      const models: Model[] = [];
      for (let round = 0; round < 5; round += 1) {
        const many = Array.from({ length: 400 }, (_, index) => message({ message_id: `m${round}-${index}`, from: '+4911' }));
        await Promise.all(many.map((one) => under.storage.append(one)));
      }
      const erasing = under.storage.erase({ from: '+4911' }, 'request');
      await storeVaried(under.storage, clock, models);
      assert.equal(await erasing, 2000);
      await requireShownAtLast(under, models);
    });
  });

  describe('retention', () => {
    const KEPT = { keepMs: 10 * MS_PER_MINUTE, rememberMs: 5 * MS_PER_MINUTE };

    async function vanished(storage: Storage, left: number): Promise<void> {
      await waitFor(`${left} messages`, async () => (await storage.list({ limit: 1, offset: 0 })).total <= left);
    }

    test('takes messages out of every answer by when they were received, whatever their time says', async (t) => {
      const clock = createClock();
      const under = await open(t, { now: clock.now, retention: KEPT });
      const models: Model[] = [];
      for (let minute = 0; minute < 5; minute += 1) {
        await storeVaried(under.storage, clock, models, 60);
        clock.advance(2 * MS_PER_MINUTE);
      }
      // The first ones were received ten minutes ago: not longer.
      await requireShown(under.storage, models);
      clock.advance(1);
      await vanished(under.storage, 240);
      await requireShown(under.storage, models.slice(60));
      clock.advance(4 * MS_PER_MINUTE);
      await vanished(under.storage, 120);
      await requireShownAtLast(under, models.slice(180));
    });

    test('knows ids for a while after, and then no more', async (t) => {
      const clock = createClock();
      const under = await open(t, { now: clock.now, retention: KEPT });
      await under.storage.append(message({ message_id: 'expired' }));
      clock.advance(KEPT.keepMs + 1);
      await vanished(under.storage, 0);
      assert.equal(await under.storage.append(message({ message_id: 'expired', text: 'other' })), 'duplicate');
      await under.removed();
      const storage = await under.reopen();
      assert.equal(await storage.append(message({ message_id: 'expired', text: 'other' })), 'duplicate');
      assert.deepEqual(await storage.stats(), statsOf([]));
      clock.advance(KEPT.rememberMs + 1000);
      assert.equal(await storage.append(message({ message_id: 'expired', text: 'other' })), 'stored');
      assert.equal((await storage.stats()).total, 1);
    });

    test('goes with erasure: each message vanishes once, and what was erased is known for ever', async (t) => {
      const clock = createClock();
      const under = await open(t, { now: clock.now, retention: KEPT });
      const models: Model[] = [];
      await storeVaried(under.storage, clock, models);
      clock.advance(MS_PER_MINUTE);
      await storeVaried(under.storage, clock, models);
      const isErased = ({ message: { from } }: Model) => from === '+49100';
      assert.equal(await under.storage.erase({ from: '+49100' }, 'request'), models.filter(isErased).length);
      clock.advance(9 * MS_PER_MINUTE + 1);
      const left = models.slice(120).filter((model) => !isErased(model));
      await vanished(under.storage, left.length);
      const storage = await requireShownAtLast(under, left);
      clock.advance(365 * 86_400_000);
      await vanished(storage, 0);
      const [erased] = models.filter(isErased);
      assert.ok(erased !== undefined);
      assert.equal(await storage.append(erased.message), 'duplicate');
    });

    test('keeps none longer for one that came while the clock was ahead', async (t) => {
      const clock = createClock();
      const under = await open(t, { now: clock.now, retention: KEPT });
      const models: Model[] = [];
      clock.advance(5 * 365 * 86_400_000);
      await store(under.storage, clock, models, [message({ message_id: 'ahead', from: '+4911' })]);
      clock.advance(-5 * 365 * 86_400_000);
      await store(under.storage, clock, models, [message({ message_id: 'after', from: '+4922' })]);
      clock.advance(15 * MS_PER_MINUTE);
      await store(under.storage, clock, models, [message({ message_id: 'young', from: '+4933' })]);
      await waitFor('its end', async () => (await under.storage.list({ limit: 1, offset: 0, from: '+4922' })).total === 0);
      assert.equal((await under.storage.list({ limit: 1, offset: 0, from: '+4933' })).total, 1);
    });

    test('expires nothing too early where the clock goes back', async (t) => {
      const clock = createClock();
      const under = await open(t, { now: clock.now, retention: KEPT });
      const models: Model[] = [];
      await store(under.storage, clock, models, [message({ message_id: 'first' })]);
      clock.advance(20 * MS_PER_MINUTE);
      await vanished(under.storage, 0);
      await store(under.storage, clock, models, [message({ message_id: 'second' })]);
      clock.advance(-15 * MS_PER_MINUTE);
      await store(under.storage, clock, models, [message({ message_id: 'third' })]);
      await requireShown(under.storage, models.slice(1));
      clock.advance(12 * MS_PER_MINUTE);
      await under.removed();
      assert.equal((await under.storage.list({ limit: 1, offset: 0, from: message().from })).items[0]?.message_id, 'second');
      clock.advance(15 * MS_PER_MINUTE);
      await vanished(under.storage, 0);
      await requireShownAtLast(under, []);
    });
  });
}
