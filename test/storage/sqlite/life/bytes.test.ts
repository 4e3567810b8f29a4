/** What is left of a message that is gone in the files of a database that this version made: nothing. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test, type TestContext } from 'node:test';
import type { Message } from '../../../../src/message.ts';
import { candidatesOf } from '../../../../src/storage/sqlite/indexing/text-index/candidates.ts';
import type { Storage } from '../../../../src/storage/storage.ts';
import { message } from '../../../support/messages.ts';
import { openTestStorage } from '../../../support/storage.ts';
import { countRows } from '../../../support/stored-rows.ts';
import { temporaryFolder } from '../../../support/temporary.ts';
import { waitFor } from '../../../support/wait.ts';

const KEEP_MS = 3_600_000;
const MESSAGES_BETWEEN_LOOKS = 100;
const FILES = ['', '-wal', '-index', '-index-wal'];

/** What each of these messages has, and no other one: its sender, its receiver, its id and its text begin with a word of its kind. */
function messagesOf(kind: string, digit: number, count: number): Message[] {
  return Array.from({ length: count }, (_, index) => message({
    message_id: `${kind}-id-${index}`, text: `${kind}-text-${index} ${'ä'.repeat(index % 90)}`,
    from: `+${digit}11${String(index % 50).padStart(4, '0')}77`, to: `+${digit}22${String(index % 70).padStart(4, '0')}88`,
    ts: new Date(Date.UTC(2025, 0, 1) + ((index * 7919) % 4000) * 1000).toISOString(),
  }));
}

/** Fewer at once than the queue takes. */
async function storeAll(storage: Storage, messages: readonly Message[]): Promise<void> {
  for (let index = 0; index < messages.length; index += 200) await Promise.all(messages.slice(index, index + 200).map(storage.append));
}

/** Which of these bytes are in which of the files. */
function traces(path: string, suffixes: readonly string[], words: readonly string[]): string[] {
  return suffixes.flatMap((suffix) => {
    const bytes = readFileSync(path + suffix);
    return words.filter((word) => bytes.includes(word)).map((word) => `${word} in app.db${suffix}`);
  });
}

/** Stores messages until the test ends, so that the log is never at rest, and would begin again without being emptied. */
function keepBusy(t: TestContext, storage: Storage) {
  let [stored, stopped] = [0, false];
  const storing = (async () => {
    for (; !stopped; stored += 1) {
      await storage.append(message({ message_id: `meanwhile-${stored}`, from: '+6110001', text: 'x'.repeat(40_000) }));
    }
  })();
  const stop = async () => {
    stopped = true;
    await storing;
    return stored;
  };
  t.after(async () => void (await stop()));
  return { stop, count: () => stored };
}

test('numbers, ids and texts of erased and of expired messages are in none of them soon after, while others are stored', async (t) => {
  const path = join(temporaryFolder(t), 'app.db');
  let now = Date.UTC(2025, 0, 15);
  const storage = await openTestStorage(t, path, {}, { now: () => now, retention: { keepMs: KEEP_MS, rememberMs: KEEP_MS } });
  const isIndexed = (word: string) => traces(path, ['-index', '-index-wal'], [word]).length > 0;
  await storeAll(storage, messagesOf('expired', 5, 1500));
  await waitFor('the index', () => isIndexed('+511'));
  now += KEEP_MS;
  const busy = keepBusy(t, storage);
  const kept = messagesOf('kept', 6, 1500);
  const byNumber = messagesOf('erased', 7, 1500);
  for (let index = 0; index < kept.length; index += 100) {
    await storeAll(storage, [...byNumber.slice(index, index + 100), ...kept.slice(index, index + 100)]);
  }
  const byId = message({ message_id: 'long-id', from: '+411177', to: '+422288', text: 'long-text '.repeat(3000) });
  await storeAll(storage, [byId]);
  await waitFor('the index', () => isIndexed('+711') && isIndexed('+411'));
  const ids = ['expired-id-', 'erased-id-', 'long-id'];
  const others = ['expired-text-', '+511', '+522', 'erased-text-', '+711', '+722', 'long-text', '+411', '+422'];
  const left = () => traces(path, FILES, [...ids, ...others]);
  assert.deepEqual([...ids, ...others].filter((word) => traces(path, FILES, [word]).length === 0), []);

  now += 1;
  assert.equal(await storage.erase({ message_id: byId.message_id }, 'request'), 1);
  for (const from of new Set(byNumber.slice(0, 25).map((one) => one.from))) assert.equal(await storage.erase({ from }, 'request'), 30);
  for (const to of new Set(byNumber.map((one) => one.to))) await storage.erase({ to }, 'request');
  let next = 0;
  // Looking takes this thread from the load.
  await waitFor(() => left().join(), () => {
    if (busy.count() < next) return false;
    next = busy.count() + MESSAGES_BETWEEN_LOOKS;
    return left().length === 0;
  });
  const stored = kept.length + await busy.stop();
  const { total } = await storage.list({ limit: 1, offset: 0 });
  assert.deepEqual([countRows(path), total], [stored, stored]);
  assert.equal(traces(path, [''], ['kept-id-0', 'kept-text-0', '+611']).length, 3);
});

test('no trigram of an erased text leads to its place in the index any more, while its neighbours stay', async (t) => {
  const path = join(temporaryFolder(t), 'app.db');
  const storage = await openTestStorage(t, path);
  const [kept, erased] = [messagesOf('kept', 6, 2600), messagesOf('erased', 7, 2600)];
  await storeAll(storage, kept.flatMap((one, index) => [one, ...erased.slice(index, index + 1)]));
  const index = new DatabaseSync(`${path}-index`, { readOnly: true, timeout: 5000 });
  t.after(() => index.close());
  const indexed = (search: string) => [...candidatesOf((sql, parameters) => index.prepare(sql).all(...parameters), 'main', search)]
    .flatMap(({ parameters }) => parameters).length;
  await waitFor('the text index', () => index.prepare('SELECT 1 FROM parts').get() !== undefined);
  assert.ok(indexed('erased-text-') > 0);
  for (const from of new Set(erased.map((one) => one.from))) await storage.erase({ from }, 'request');
  await waitFor('their end', () => countRows(path) === kept.length);
  assert.equal(indexed('erased-text-'), 0);
  assert.ok(indexed('kept-text-') > 0);
});

test('nor is the number of a sender whose place among the largest the index keeps', async (t) => {
  const path = join(temporaryFolder(t), 'app.db');
  const storage = await openTestStorage(t, path);
  const senders = Array.from({ length: 450 }, (_, index) => `+88${String(index).padStart(5, '0')}99`);
  await storeAll(storage, senders.map((from, index) => message({ message_id: `m${index}`, from })));
  const index = new DatabaseSync(`${path}-index`, { readOnly: true, timeout: 5000 });
  t.after(() => index.close());
  const lastTop = () => String(index.prepare('SELECT last_top_number FROM progress').get()?.['last_top_number']);
  await waitFor('such a place', () => lastTop() !== '');
  const from = lastTop();
  assert.ok(senders.includes(from));
  assert.equal(await storage.erase({ from }, 'request'), 1);
  await waitFor(() => traces(path, FILES, [from]).join(), () => traces(path, FILES, [from]).length === 0);
  const { topSenders, senders: left } = await storage.stats();
  assert.deepEqual([left, topSenders.map((sender) => sender.from)], [449, senders.filter((sender) => sender !== from).slice(0, 10)]);
});

test('rows go, too, while the index can take nothing in', async (t) => {
  const path = join(temporaryFolder(t), 'app.db');
  const told: string[] = [];
  const storage = await openTestStorage(t, path, { failing: (step, reason) => void (reason !== null && told.push(step)) });
  await storeAll(storage, messagesOf('kept', 6, 10));
  await waitFor('the index', () => storage.indexLag() === 0);
  const index = new DatabaseSync(`${path}-index`, { timeout: 5000 });
  index.exec("CREATE TRIGGER stop BEFORE INSERT ON by_sender BEGIN SELECT RAISE(ABORT, 'no'); END");
  index.close();
  await storeAll(storage, messagesOf('kept', 6, 11).slice(10));
  await waitFor('the failure', () => told.includes('index'));
  assert.equal(await storage.erase({ message_id: 'kept-id-3' }, 'request'), 1);
  await waitFor('its end', () => countRows(path) === 10);
});
