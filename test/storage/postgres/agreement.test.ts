/** Kept counts and pages from indexes have to say the same as a plain look at every message. */
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import type { Message } from '../../../src/message.ts';
import type { MessageQuery, Storage } from '../../../src/storage/storage.ts';
import { message } from '../../support/messages.ts';
import { isInstalled, NOT_INSTALLED, type Postgres, startPostgres } from '../../support/postgres.ts';
import { openOn } from '../../support/postgres-storage.ts';
import { createRandom } from '../../support/random.ts';
import { createCorpus } from '../agreement.ts';

const MESSAGES = 12_000;
/** As many as the queue takes. */
const AT_ONCE = 1000;
const LONGEST_ID = 512;
const LONGEST_TEXT = 4096;

const random = createRandom(Number(process.env['FUZZ_SEED'] ?? 20_250_115));
/** Of characters of four bytes, which nothing makes shorter. */
const longText = (length: number) => Array.from({ length }, () => String.fromCodePoint(0x1_0000 + random.below(0xffff))).join('');
const TEXTS = ['É', 'é', 'ÉCOLE É', 'İstanbul', 'straße', '?!', '!', '%', '%%_', '\\', '\\%', 'a\\b', "'", '"', '', ' ', 'ab', 'AB', 'Zz', '\u0001', '\u{10ffff}', 'K'];
const TIMES = [
  '0001-01-01T00:00:00Z', '9999-12-31T23:59:59.999999999Z', '2025-01-15T23:59:59.999999999Z', '2025-01-16T00:00:00Z', '2025-01-16T00:00:59.5Z',
  '2025-01-16T00:01:00Z', '2025-01-16T23:59:00Z', '2025-02-28T23:59:59Z',
];

function edges(): Message[] {
  const ids = Array.from({ length: 5 }, () => message({ message_id: longText(LONGEST_ID), text: longText(LONGEST_TEXT) }));
  const texts = TEXTS.map((text, index) => message({ message_id: `text ${index}`, text }));
  return [...ids, ...texts, ...TIMES.map((ts) => message({ message_id: `at ${ts}`, ts, text: null }))];
}

/** Of each text all, and what is short of it. */
function queries(): MessageQuery[] {
  const sought = [...TEXTS.filter((text) => text !== ''), 'i', 'SS', 'ß', 'k', 'a', 'ta', '😀', '😀 ', '% ', '100%', 'x x ', '0% a_b', longText(256)];
  return [
    ...sought.flatMap((q) => [{ q, limit: 100, offset: 0 }, { q, limit: 7, offset: 3, newestFirst: true, since: '2025-01-15T10:00:00' }]),
    ...TIMES.flatMap((ts) => [0, 1].map((offset) => ({ since: ts.replace('Z', ''), limit: 5, offset, newestFirst: offset === 1 }))),
    { from: message().from, limit: 100, offset: 10 },
  ];
}

if (isInstalled) {
  const server = await startPostgres({ after }, { settings: { synchronous_commit: 'off' } });
  await testOn(server);
} else {
  test('PostgreSQL says the same as a plain look', { skip: NOT_INSTALLED }, () => {});
}

async function testOn(server: Postgres): Promise<void> {
  const database = await server.createDatabase();
  const storage = await openOn({ after }, [server.target(database)]);
  const corpus = createCorpus(random, MESSAGES);
  await store(storage, corpus.messages);
  await store(storage, corpus.add(edges()));

  describe('reads say the same as a plain look at every message', () => {
    test('with an index of the texts', async () => {
      assert.equal(await server.sql('SELECT to_regclass(\'messages_by_text\')', database), 'messages_by_text');
      await corpus.check(storage, queries());
      await store(storage, corpus.add(corpus.draw()));
      await corpus.check(storage);
    });

    test('without one', async () => {
      await server.sql('DROP EXTENSION pg_trgm CASCADE', database);
      await corpus.check(storage, queries());
    });

    test('of a text with NUL, which none that is kept has', async () => {
      const nothing = { items: [], total: 0, next: null };
      for (const query of [{ from: '\0' }, { from: `${message().from}\0` }, { q: '\0' }, { q: 'É\0' }]) {
        assert.deepEqual(await storage.list({ limit: 5, offset: 0, ...query }), nothing);
        assert.deepEqual((await storage.stored({ after: storage.beforeAll, limit: 5, ...query })).items, []);
      }
      // Right behind what it begins with.
      const first = await storage.list({ limit: 1, offset: 0 });
      const position = first.next ?? assert.fail();
      for (const behind of [{ ...position, message_id: `${position.message_id}\0z` }, position]) {
        assert.deepEqual((await storage.list({ limit: 3, offset: 0, after: behind })).items, (await storage.list({ limit: 3, offset: 1 })).items);
      }
      assert.ok(!await storage.holds({ generation: `${storage.generation}\0` }));
    });
  });
}

async function store(storage: Storage, messages: readonly Message[]): Promise<void> {
  for (let begin = 0; begin < messages.length; begin += AT_ONCE) {
    const outcomes = await Promise.all(messages.slice(begin, begin + AT_ONCE).map((one) => storage.append(one)));
    assert.deepEqual(new Set(outcomes), new Set(['stored']));
  }
}
