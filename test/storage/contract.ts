/** What every storage adapter has to do. An adapter's own test calls this with a way to open an empty storage. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { StorageUnavailable } from '../../src/errors.ts';
import type { Message } from '../../src/message.ts';
import {
  STORED_PART_BYTES, type Arrivals, type MessageQuery, type Position, type Storage, type StoredMessages, type StoredQuery,
} from '../../src/storage/storage.ts';
import { message } from '../support/messages.ts';
import { testRemovalContract, type OpenStorageUnderTest } from './removal-contract.ts';

const EVERYTHING = { limit: 100, offset: 0 };
const MANY = 5000;
const MS_PER_MINUTE = 60_000;

async function idsOf(storage: Storage, query: Partial<Parameters<Storage['list']>[0]> = {}): Promise<string[]> {
  return (await storage.list({ ...EVERYTHING, ...query })).items.map(({ message_id }) => message_id);
}

/** Follows `next` to the end. */
async function pageThrough(storage: Storage, query: MessageQuery): Promise<{ items: Message[]; totals: Set<number> }> {
  const items: Message[] = [];
  const totals = new Set<number>();
  for (let after: Position | null | undefined; after !== null;) {
    const page = await storage.list({ ...query, ...(after && { after }) });
    assert.ok(page.items.length === query.limit || page.next === null);
    items.push(...page.items);
    assert.ok(items.length <= page.total, 'a message is repeated');
    totals.add(page.total);
    after = page.next;
  }
  return { items, totals };
}

export function testStorageContract(name: string, open: OpenStorageUnderTest): void {
  describe(`${name} keeps the storage contract`, () => {
    describe('append', () => {
      test('stores a message as it came, and keeps it over a restart', async (t) => {
        const { storage, reopen } = await open(t);
        const texts = [null, '', 'Hello', ' a\n\t"\\ é😀\ufeff\u0001 ', 'x'.repeat(4096)];
        const sent = texts.map((text, index) => message({ message_id: `m${index}`, text }));
        for (const one of sent) assert.equal(await storage.append(one), 'stored');
        assert.deepEqual(await storage.list(EVERYTHING), { items: sent, total: sent.length, next: null });
        assert.deepEqual(await (await reopen()).list(EVERYTHING), { items: sent, total: sent.length, next: null });
      });

      test('keeps the first version of an id, and tells a repeat from a conflict', async (t) => {
        const { storage } = await open(t);
        assert.equal(await storage.append(message()), 'stored');
        assert.equal(await storage.append(message()), 'duplicate');
        for (const changes of [{ from: '+12' }, { to: '+12' }, { ts: '2025-01-15T10:00:00.0Z' }, { text: 'other' }, { text: null }]) {
          assert.equal(await storage.append(message(changes)), 'conflicting_duplicate');
        }
        assert.deepEqual((await storage.list(EVERYTHING)).items, [message()]);
      });

      test('stores one of many copies that come at once', async (t) => {
        const { storage } = await open(t);
        const outcomes = await Promise.all(Array.from({ length: 50 }, (_, index) => storage.append(message({ text: String(index % 2) }))));
        assert.equal(outcomes.filter((outcome) => outcome === 'stored').length, 1);
        assert.equal(outcomes.filter((outcome) => outcome === 'duplicate').length, 24);
        assert.equal((await storage.list(EVERYTHING)).total, 1);
      });

      test('never takes two ids for one', async (t) => {
        const { storage } = await open(t);
        const ids = ['a', 'A', 'a ', ' a', 'á', 'a\u0301', 'ａ', '1', '01', '1.0'];
        const outcomes = await Promise.all(ids.map((message_id) => storage.append(message({ message_id }))));
        assert.deepEqual(new Set(outcomes), new Set(['stored']));
        assert.equal((await storage.list(EVERYTHING)).total, ids.length);
      });

      test('refuses past its capacity rather than growing, and answers all that it took', async (t) => {
        const { storage } = await open(t);
        const attempts: Promise<unknown>[] = [];
        while (storage.hasRoom()) attempts.push(storage.append(message({ message_id: `m${attempts.length}` })));
        await assert.rejects(storage.append(message()), StorageUnavailable);
        assert.equal(storage.queueDepth(), attempts.length);
        assert.deepEqual(new Set(await Promise.all(attempts)), new Set(['stored']));
        assert.equal((await storage.list(EVERYTHING)).total, attempts.length);
        assert.equal(storage.queueDepth(), 0);
      });

      test('knows when it last stored, also after a restart', async (t) => {
        const { storage, reopen } = await open(t);
        assert.equal(storage.lastStoredAt(), undefined);
        await storage.append(message());
        const at = storage.lastStoredAt();
        assert.ok(at !== undefined && Math.abs(at - Date.now()) < 60_000);
        const after = (await reopen()).lastStoredAt();
        assert.ok(after !== undefined && Math.abs(after - at) < 60_000);
      });
    });

    describe('list', () => {
      test('orders by instant, then by the UTF-8 bytes of the id', async (t) => {
        const { storage } = await open(t);
        // In UTF-16 the emoji would come before U+FF01; in UTF-8 it comes after.
        const inOrder: [string, string][] = [
          ['z', '2025-01-15T09:59:59.999999999Z'], ['B', '2025-01-15T10:00:00Z'], ['a', '2025-01-15T10:00:00.000Z'],
          ['\uff01', '2025-01-15T10:00:00Z'], ['😀', '2025-01-15T10:00:00.0Z'], ['b1', '2025-01-15T10:00:00.5Z'],
          ['b2', '2025-01-15T10:00:00.50Z'], ['b3', '2025-01-15T10:00:00.5Z'], ['a0', '2025-01-15T10:00:01Z'],
        ];
        for (const [message_id, ts] of inOrder.toReversed()) await storage.append(message({ message_id, ts }));
        assert.deepEqual(await idsOf(storage), inOrder.map(([id]) => id));
      });

      test('finds one message by its id, and tells when it was received and its place in the order of storing', async (t) => {
        const { storage } = await open(t);
        const before = Date.now();
        for (const message_id of ['b', 'a', 'ab']) await storage.append(message({ message_id, from: `+1${message_id.length}` }));
        for (const [query, ids] of [
          [{ message_id: 'a' }, ['a']], [{ message_id: 'A' }, []], [{ message_id: 'a\0' }, []], [{ message_id: 'a', from: '+11' }, ['a']],
          [{ message_id: 'a', from: '+12' }, []], [{ message_id: 'a', q: 'ell' }, ['a']], [{ message_id: 'a', q: 'nowhere' }, []],
          [{ message_id: 'a', since: '9' }, []],
        ] as const) {
          const page = await storage.list({ ...EVERYTHING, ...query });
          assert.deepEqual([page.items.map(({ message_id }) => message_id), page.total, page.next], [ids, ids.length, null]);
        }
        const after = { instant: '', message_id: '' };
        assert.equal((await storage.list({ ...EVERYTHING, message_id: 'a', after })).items.length, 1);
        assert.deepEqual((await storage.list({ ...EVERYTHING, message_id: 'a', after, newestFirst: true })).items, []);

        const { receipts = [] } = await storage.list({ ...EVERYTHING, withReceipts: true });
        const { items } = await storage.stored({ after: storage.beforeAll, limit: 10 });
        assert.deepEqual(items.map((item) => item.message.message_id), ['b', 'a', 'ab']);
        assert.deepEqual(receipts.map(({ sequence }) => sequence), [1, 2, 0].map((index) => items[index]?.sequence));
        for (const { receivedAt } of [...receipts, ...items]) assert.ok(receivedAt !== null && receivedAt >= before && receivedAt <= Date.now());
        const one = await storage.stored({ after: storage.beforeAll, limit: 10, message_id: 'a' });
        assert.deepEqual(one.items.map((item) => item.message.message_id), ['a']);
      });

      test('pages, with the total of all that match', async (t) => {
        const { storage } = await open(t);
        for (let index = 0; index < 7; index += 1) await storage.append(message({ message_id: `m${index}` }));
        assert.deepEqual(await idsOf(storage, { limit: 3, offset: 2 }), ['m2', 'm3', 'm4']);
        const past = await storage.list({ limit: 3, offset: Number.MAX_SAFE_INTEGER });
        assert.deepEqual(past, { items: [], total: 7, next: null });
      });

      test('pages by position: the same messages as all at once, and the same total on each page', async (t) => {
        const { storage } = await open(t);
        for (let index = 0; index < 40; index += 1) {
          await storage.append(message({
            message_id: `${['m', 'é', '\uffee', '😀'][index % 4]}${index}`, ts: `2025-01-15T10:00:0${index % 3}Z`,
            from: index % 5 === 0 ? '+12' : '+13', text: index % 4 === 0 ? 'other' : 'some text',
          }));
        }
        const filters = [{}, { from: '+13' }, { since: '2025-01-15T10:00:01' }, { q: 'some' }, { q: 'xt' }, { q: 'ome', since: '2025-01-15T10:00:01' },
          { q: 'some', from: '+13' }, { q: 'nowhere' }, { from: '+13', since: '2025-01-15T10:00:01', q: 'te' }];
        for (const filter of filters) {
          const all = await storage.list({ ...EVERYTHING, ...filter });
          for (const limit of [1, 4, all.total, all.total + 1]) {
            const paged = await pageThrough(storage, { ...filter, limit: Math.max(1, limit), offset: 0 });
            assert.deepEqual(paged, { items: all.items, totals: new Set([all.total]) }, JSON.stringify({ filter, limit }));
          }
        }
      });

      test('pages by position past what is stored meanwhile, without a repeat', async (t) => {
        const { storage } = await open(t);
        for (const message_id of ['b', 'd', 'f']) await storage.append(message({ message_id }));
        const { next } = await storage.list({ limit: 2, offset: 0 });
        assert.ok(next !== null);
        for (const message_id of ['a', 'c', 'e', 'g']) await storage.append(message({ message_id }));
        assert.deepEqual(await idsOf(storage, { after: next }), ['e', 'f', 'g']);
      });

      test('filters by sender exactly', async (t) => {
        const { storage } = await open(t);
        await storage.append(message({ message_id: 'a', from: '+12' }));
        await storage.append(message({ message_id: 'b', from: '+123' }));
        assert.deepEqual(await idsOf(storage, { from: '+12' }), ['a']);
        for (const from of ['12', '+1', '%', '', "' OR 1=1 --", '\0']) assert.deepEqual(await idsOf(storage, { from }), []);
      });

      test('filters from an instant on, inclusive', async (t) => {
        const { storage } = await open(t);
        for (const ts of ['2025-01-15T10:00:00Z', '2025-01-15T10:00:00.50Z', '2025-01-15T10:00:01Z']) {
          await storage.append(message({ message_id: ts, ts }));
        }
        assert.equal((await storage.list({ ...EVERYTHING, since: '2025-01-15T10:00:00' })).total, 3);
        assert.equal((await storage.list({ ...EVERYTHING, since: '2025-01-15T10:00:00.5' })).total, 2);
        assert.equal((await storage.list({ ...EVERYTHING, since: '2025-01-15T10:00:00.500000001' })).total, 1);
      });

      test('finds a substring of the text: ASCII letters in either case, all else exact', async (t) => {
        const { storage } = await open(t);
        const texts = { a: '100% sure_thing', b: 'ÉCOLE', c: 'école', d: 'back\\slash', e: null, f: "it's", g: '' };
        for (const [message_id, text] of Object.entries(texts)) await storage.append(message({ message_id, text }));
        const found: [string, string[]][] = [
          ['SURE', ['a']], ['%', ['a']], ['_', ['a']], ['0% s', ['a']], ['é', ['c']], ['É', ['b']], ['cole', ['b', 'c']],
          ['\\', ['d']], ["'", ['f']], ['x', []], ['*', []], ['"', []], ['\0', []], ['a\0', []],
        ];
        for (const [q, ids] of found) assert.deepEqual(await idsOf(storage, { q }), ids, JSON.stringify(q));
      });

      test('applies all filters together', async (t) => {
        const { storage } = await open(t);
        await storage.append(message({ message_id: 'a', from: '+12', text: 'yes', ts: '2025-01-15T10:00:00Z' }));
        await storage.append(message({ message_id: 'b', from: '+12', text: 'no', ts: '2025-01-16T10:00:00Z' }));
        await storage.append(message({ message_id: 'c', from: '+12', text: 'yes', ts: '2025-01-16T10:00:00Z' }));
        await storage.append(message({ message_id: 'd', from: '+13', text: 'yes', ts: '2025-01-16T10:00:00Z' }));
        assert.deepEqual(await storage.list({ ...EVERYTHING, from: '+12', q: 'YES', since: '2025-01-16T00:00:00' }), {
          items: [message({ message_id: 'c', from: '+12', text: 'yes', ts: '2025-01-16T10:00:00Z' })], total: 1, next: null,
        });
      });

      test('pages a search and a range that are longer than one step of any adapter', async (t) => {
        const { storage } = await open(t);
        const id = (index: number) => `m${String(index).padStart(5, '0')}`;
        for (let begin = 0; begin < MANY; begin += 500) {
          await Promise.all(Array.from({ length: 500 }, (_, index) => storage.append(message({
            message_id: id(begin + index), text: (begin + index) % 3 === 0 ? 'third' : 'other', ts: '2025-01-15T10:00:00Z',
          }))));
        }
        for (const offset of [0, 1, 600, 1300, 1660]) {
          const { items, total } = await storage.list({ limit: 10, offset, q: 'THIRD' });
          const expected = Array.from({ length: 10 }, (_, index) => id((offset + index) * 3)).filter((one) => one < id(MANY));
          assert.deepEqual([total, items.map(({ message_id }) => message_id)], [Math.ceil(MANY / 3), expected], String(offset));
        }
        const { items, total } = await storage.list({ limit: 2, offset: MANY - 1, since: '2025-01-15T10:00:00' });
        assert.deepEqual([total, items.map(({ message_id }) => message_id)], [MANY, [id(MANY - 1)]]);
      });

      test('shows every message whose append was answered before', async (t) => {
        const { storage } = await open(t);
        for (let index = 0; index < 20; index += 1) {
          await storage.append(message({ message_id: `m${index}` }));
          assert.equal((await storage.list({ limit: 1, offset: 0 })).total, index + 1);
        }
      });
    });

    describe('stored', () => {
      const storedIds = async (storage: Storage, query: Partial<StoredQuery> = {}) =>
        (await storage.stored({ after: storage.beforeAll, limit: 100, ...query })).items.map(({ message }) => message.message_id);

      test('has messages in the order in which they were stored, whatever their time, each once', async (t) => {
        const { storage, reopen } = await open(t);
        for (const [message_id, ts] of [['b', '2025-01-15T10:00:00Z'], ['a', '2024-01-15T10:00:00Z'], ['b', '2025-01-15T10:00:00Z'], ['c', '2023-01-15T10:00:00Z']] as const) {
          await storage.append(message({ message_id, ts }));
        }
        assert.deepEqual(await storedIds(storage), ['b', 'a', 'c']);
        assert.deepEqual(await storedIds(await reopen()), ['b', 'a', 'c']);
      });

      test('goes on after a sequence, part by part, to the newest', async (t) => {
        const { storage } = await open(t);
        const empty = await storage.newestSequence();
        assert.deepEqual(await storage.stored({ after: storage.beforeAll, limit: 2 }), { items: [], through: storage.beforeAll, isAll: true });
        await storage.append(message({ message_id: '1' }));
        await storage.append(message({ message_id: '2' }));
        const two = await storage.newestSequence();
        await storage.append(message({ message_id: '3' }));
        assert.deepEqual(await storedIds(storage, { after: empty }), ['1', '2', '3']);
        assert.deepEqual(await storedIds(storage, { after: two }), ['3']);
        const part = await storage.stored({ after: storage.beforeAll, limit: 2 });
        assert.deepEqual([part.items.map(({ message }) => message.message_id), part.through, part.isAll], [['1', '2'], part.items.at(-1)?.sequence, false]);
        const rest = await storage.stored({ after: part.through, limit: 2 });
        assert.deepEqual([rest.items.map(({ message }) => message.message_id), rest.isAll], [['3'], true]);
        assert.deepEqual(await storage.stored({ after: rest.through, limit: 2 }), { items: [], through: rest.through, isAll: true });
        assert.ok(BigInt(await storage.newestSequence()) >= BigInt(rest.through));
      });

      test('filters, and passes over what does not match', async (t) => {
        const { storage } = await open(t);
        for (const [message_id, from, text] of [['1', '+11', 'Apple'], ['2', '+12', 'apple'], ['3', '+11', null], ['4', '+11', 'pear']] as const) {
          await storage.append(message({ message_id, from, text }));
        }
        assert.deepEqual(await storedIds(storage, { from: '+11' }), ['1', '3', '4']);
        assert.deepEqual(await storedIds(storage, { q: 'APPLE' }), ['1', '2']);
        assert.deepEqual(await storedIds(storage, { from: '+11', q: 'apple' }), ['1']);
        const none = await storage.stored({ after: storage.beforeAll, limit: 1, q: 'nowhere' });
        assert.deepEqual([none.items, none.isAll, none.through], [[], true, (await storage.stored({ after: storage.beforeAll, limit: 100 })).through]);
      });

      test('gives no part more bytes than it may have, and one message whatever it has', async (t) => {
        const { storage } = await open(t);
        const texts = ['\u0001'.repeat(4096), '😀'.repeat(4096), 'é'.repeat(4096), null];
        const ids = Array.from({ length: 40 }, (_, index) => `${index}`.padEnd(index % 3 === 0 ? 500 : 1, 'é'));
        await Promise.all(ids.map((message_id, index) => storage.append(message({ message_id, text: texts[index % 4] ?? null }))));
        for (const filter of [{}, { from: message().from }, { q: '😀' }, { q: '\u0001' }]) {
          const seen: string[] = [];
          for (let after = storage.beforeAll, isAll = false; !isAll;) {
            const part: StoredMessages = await storage.stored({ ...filter, after, limit: 100 });
            const bytes = part.items.map((item) => Buffer.byteLength(Object.values(item.message).join('')));
            assert.ok(part.items.length === 1 || bytes.reduce((sum, more) => sum + more, 0) <= STORED_PART_BYTES, bytes.join());
            seen.push(...part.items.map((item) => item.message.message_id));
            ({ through: after, isAll } = part);
          }
          const all = await storage.list({ ...EVERYTHING, ...filter });
          assert.deepEqual(seen.toSorted(), all.items.map(({ message_id }) => message_id).toSorted());
        }
      });

      test('misses nothing while messages come', async (t) => {
        const { storage } = await open(t);
        const seen: string[] = [];
        const appending = Promise.all(Array.from({ length: 300 }, (_, index) => storage.append(message({ message_id: `m${index}` }))));
        let after = storage.beforeAll;
        while (seen.length < 300) {
          const part: StoredMessages = await storage.stored({ after, limit: 7 });
          seen.push(...part.items.map(({ message: { message_id } }) => message_id));
          after = part.through;
        }
        await appending;
        assert.equal(new Set(seen).size, 300);
      });
    });

    describe('arrivals', () => {
      test('are counted by the minute in which the service received them', async (t) => {
        const { storage, reopen } = await open(t);
        const begin = Math.floor(Date.now() / MS_PER_MINUTE);
        assert.deepEqual(await storage.arrivals(0), []);
        for (const message_id of ['1', '2', '2', '3']) await storage.append(message({ message_id, ts: '2001-01-15T10:00:00Z' }));
        const total = (arrivals: readonly Arrivals[]) => arrivals.reduce((sum, { count }) => sum + count, 0);
        for (const opened of [async () => storage, reopen]) {
          const reading = await opened();
          const arrivals = await reading.arrivals(begin);
          assert.equal(total(arrivals), 3);
          assert.ok(arrivals.every(({ minute }) => minute >= begin && minute <= Date.now() / MS_PER_MINUTE));
          assert.deepEqual(await reading.arrivals(begin + 60), []);
        }
      });
    });

    describe('stats', () => {
      test('are empty at first', async (t) => {
        const { storage } = await open(t);
        assert.deepEqual(await storage.stats(), { total: 0, senders: 0, topSenders: [], firstTs: null, lastTs: null });
      });

      test('count by sender, and find the ends by instant', async (t) => {
        const { storage } = await open(t);
        let sent = 0;
        const send = (from: string, ts: string) => storage.append(message({ message_id: `m${sent += 1}`, from, ts }));
        for (let sender = 10; sender < 22; sender += 1) await send(`+${sender}`, '2025-01-15T10:00:00.50Z');
        await send('+21', '2025-01-15T10:00:00Z');
        await send('+20', '2025-01-15T10:00:00.7Z');
        const stats = await storage.stats();
        assert.deepEqual([stats.total, stats.senders, stats.firstTs, stats.lastTs], [14, 12, '2025-01-15T10:00:00Z', '2025-01-15T10:00:00.7Z']);
        assert.deepEqual(stats.topSenders.slice(0, 3), [{ from: '+20', count: 2 }, { from: '+21', count: 2 }, { from: '+10', count: 1 }]);
        assert.equal(stats.topSenders.length, 10);
      });
    });

    testRemovalContract(open);

    test('probe takes a durable write and stores no message', async (t) => {
      const { storage } = await open(t);
      await storage.probe();
      assert.equal((await storage.list(EVERYTHING)).total, 0);
    });

    test('sizes are those of what is stored', async (t) => {
      const { storage } = await open(t);
      await storage.append(message());
      assert.ok(((await storage.sizes()).databaseBytes ?? 0) > 0);
    });

    test('refuses reads past its bound at once, and answers the others', async (t) => {
      const { storage } = await open(t);
      const reads = Array.from({ length: 500 }, () => storage.stats());
      const results = await Promise.allSettled(reads);
      const refused = results.filter((result) => result.status === 'rejected');
      assert.ok(refused.length > 0 && refused.length < reads.length);
      assert.ok(refused.every(({ reason }) => reason instanceof StorageUnavailable));
      assert.equal(storage.readsWaiting(), 0);
    });

    test('lets no reads that may take long, or clients with many of them, refuse or delay others', async (t) => {
      const { storage } = await open(t);
      await storage.append(message());
      const settled: string[] = [];
      const follow = (name: string, read: Promise<unknown>) => read.then(() => settled.push(name), (error: unknown) => {
        assert.ok(error instanceof StorageUnavailable && error.reason === 'too many reads are waiting');
        settled.push(`${name} refused`);
      });
      const search = (client: string) => follow(client, storage.list({ ...EVERYTHING, q: 'ell' }, client));
      const flood = Array.from({ length: 500 }, () => search('flood'));
      const others = [
        storage.list(EVERYTHING, 'flood'), storage.stats('flood'), storage.arrivals(0, 'flood'), storage.newestSequence('flood'),
        storage.stored({ after: storage.beforeAll, limit: 1, q: 'ell' }, 'flood'),
      ];
      await Promise.all([...flood, ...others, search('other'), search('third')]);
      assert.ok(settled.includes('flood refused') && !settled.includes('other refused') && !settled.includes('third refused'));
      const answered = settled.filter((name) => !name.endsWith('refused'));
      assert.ok(answered.indexOf('third') < 10, answered.join());
    });

    test('close answers what was appended before, and refuses what comes after', async (t) => {
      const { storage } = await open(t);
      const appended = Array.from({ length: 20 }, (_, index) => storage.append(message({ message_id: `m${index}` })));
      const closed = storage.close();
      await assert.rejects(storage.append(message()), StorageUnavailable);
      assert.deepEqual(new Set(await Promise.all(appended)), new Set(['stored']));
      await closed;
      await assert.rejects(storage.list(EVERYTHING), StorageUnavailable);
      await assert.rejects(storage.probe(), StorageUnavailable);
    });
  });
}
