/** Of a message that is gone no byte is left where the README says so: in the database file that this version made, and in both logs. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import type { Message } from '../../../../src/message.ts';
import type { Storage } from '../../../../src/storage/storage.ts';
import { message } from '../../../support/messages.ts';
import { openTestStorage } from '../../../support/storage.ts';
import { temporaryFolder } from '../../../support/temporary.ts';
import { waitFor } from '../../../support/wait.ts';

const KEEP_MS = 3_600_000;
const FILES = ['', '-wal', '-index-wal'];

/** What each of these messages has, and no other one: its sender, its receiver, its id and its text begin with a word of its kind. */
function messagesOf(kind: string, digit: number, count: number): Message[] {
  return Array.from({ length: count }, (_, index) => message({
    message_id: `${kind}-id-${index}`, from: `+${digit}11${String(index % 50).padStart(4, '0')}77`, to: `+${digit}22${String(index % 70).padStart(4, '0')}88`,
    ts: new Date(Date.UTC(2025, 0, 1) + ((index * 7919) % 4000) * 1000).toISOString(), text: `${kind}-text-${index} ${'ä'.repeat(index % 90)}`,
  }));
}

/** Fewer at once than the queue takes. */
async function storeAll(storage: Storage, messages: readonly Message[]): Promise<void> {
  for (let index = 0; index < messages.length; index += 200) await Promise.all(messages.slice(index, index + 200).map(storage.append));
}

/** How many of these bytes are in each of the files. */
function traces(path: string, words: readonly string[]): string[] {
  return FILES.flatMap((suffix) => {
    const bytes = readFileSync(path + suffix);
    return words.filter((word) => bytes.includes(word)).map((word) => `${word} in app.db${suffix}`);
  });
}

function rowsOf(path: string): unknown {
  const database = new DatabaseSync(path, { readOnly: true, timeout: 5000 });
  try {
    return database.prepare('SELECT count(*) AS rows FROM messages').get()?.['rows'];
  } finally {
    database.close();
  }
}

test('numbers, ids and texts of erased and of expired messages are in none of them soon after, while others are stored', async (t) => {
  const path = join(temporaryFolder(t), 'app.db');
  let now = Date.UTC(2025, 0, 15);
  const storage = await openTestStorage(t, path, {}, { now: () => now, retention: { keepMs: KEEP_MS, rememberMs: KEEP_MS } });
  const long = message({ message_id: 'long-id', from: '+411177', to: '+422288', text: 'long-text '.repeat(3000) });
  await storeAll(storage, messagesOf('expired', 5, 1500));
  await waitFor('the index', () => storage.indexLag() === 0);
  now += KEEP_MS;
  const kept = messagesOf('kept', 6, 1500);
  const byNumber = messagesOf('erased', 7, 1500);
  for (let index = 0; index < kept.length; index += 100) {
    await storeAll(storage, [...byNumber.slice(index, index + 100), ...kept.slice(index, index + 100)]);
  }
  await storeAll(storage, [long]);
  await waitFor('the index', () => storage.indexLag() === 0);
  const gone = ['expired-id-', 'expired-text-', '+511', '+522', 'erased-id-', 'erased-text-', '+711', '+722', 'long-id', 'long-text', '+411', '+422'];
  assert.deepEqual(gone.filter((word) => !traces(path, [word]).some((trace) => trace.endsWith('app.db') || trace.endsWith('-wal'))), []);

  now += 1;
  assert.equal(await storage.erase({ message_id: long.message_id }, 'request'), 1);
  const senders = new Set(byNumber.slice(0, 25).map(({ from }) => from));
  for (const from of senders) assert.equal(await storage.erase({ from }, 'request'), 30);
  for (const to of new Set(byNumber.map((one) => one.to))) await storage.erase({ to }, 'request');
  await waitFor('the rows', () => rowsOf(path) === kept.length);
  let stored = 0;
  await waitFor(() => traces(path, gone).join(), async () => {
    await storage.append(message({ message_id: `meanwhile-${stored += 1}`, from: '+6110001' }));
    return traces(path, gone).length === 0;
  });
  assert.equal((await storage.list({ limit: 1, offset: 0 })).total, kept.length + stored);
  assert.deepEqual(traces(path, ['kept-id-0', 'kept-text-0', '+611']).filter((trace) => trace.endsWith('app.db')).length, 3);
});
