/** The hub of streams by itself, where time and a storage that fails are needed. */
import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { describe, test } from 'node:test';
import { StorageUnavailable } from '../../src/errors.ts';
import type { StreamEnd } from '../../src/observe/metrics.ts';
import type { Storage, StoredMessages } from '../../src/storage/storage.ts';
import { createStreamHub } from '../../src/stream/hub.ts';
import { writeStreamPosition } from '../../src/query/stream-position.ts';
import { message } from '../support/messages.ts';
import { waitFor } from '../support/wait.ts';

const NOTHING: StoredMessages = { items: [], through: '7', isAll: true };

function start(stored: Storage['stored']) {
  const hub = createStreamHub({ maxStreams: 3, storage: { generation: 'g', stored } });
  const ends: StreamEnd[] = [];
  const open = () => {
    assert.ok(hub.reserve());
    const response = new PassThrough();
    let text = '';
    response.on('data', (chunk) => { text += String(chunk); });
    hub.open(response, { filter: {}, after: '7', mayStillRead: () => true, onEnded: (end) => void ends.push(end) });
    return { response, text: () => text };
  };
  return { hub, open, ends };
}

/** A storage of messages with the sequences 1 to `newest()`, whose reads are of the moment in which they are asked. */
function startNumbered(newest: () => number) {
  const asked: string[] = [];
  const held: { readonly after: string; release: () => void }[] = [];
  let isHolding = false;
  const parts = start(async ({ after, limit }) => {
    asked.push(after);
    const first = Number(after) + 1;
    const last = Math.min(newest(), Number(after) + limit);
    const items = Array.from({ length: Math.max(0, last - first + 1) }, (_, index) =>
      ({ sequence: String(first + index), message: message({ message_id: String(first + index) }) }));
    const part = { items, through: String(Math.max(last, Number(after))), isAll: last === newest() };
    if (isHolding) await new Promise<void>((release) => held.push({ after, release }));
    return part;
  });
  return { ...parts, asked, held, hold: (holds: boolean) => { isHolding = holds; } };
}

const idsIn = (text: string) => [...text.matchAll(/"message_id":"([0-9]+)"/g)].map(([, id]) => Number(id));
const numbers = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index);

describe('the hub', () => {
  test('shows every quarter of a minute that the connection stands, and where the reader is', async (t) => {
    t.mock.timers.enable({ apis: ['setInterval'] });
    const { hub, open } = start(async () => NOTHING);
    const one = open();
    await waitFor('the beginning', () => one.text() !== '');
    t.mock.timers.tick(14_999);
    assert.doesNotMatch(one.text(), /: heartbeat/);
    t.mock.timers.tick(1);
    await waitFor('the heartbeat', () => one.text().endsWith(`\n\n: heartbeat\nid: ${writeStreamPosition({ generation: 'g', sequence: '7' })}\n\n`));
    hub.close();
  });

  test('ends the streams that a failing storage cannot go on with, and serves the next ones', async () => {
    let fails = true;
    const { hub, open, ends } = start(async () => {
      if (fails) throw new StorageUnavailable('a reader failed');
      return NOTHING;
    });
    open();
    await waitFor('its end', () => ends.length === 1);
    assert.deepEqual(ends, ['storage_unavailable']);
    fails = false;
    open();
    fails = true;
    await waitFor('another end', () => {
      hub.wake();
      return ends.length === 2;
    });
    assert.deepEqual([ends[1], hub.size()], ['storage_unavailable', 0]);
  });

  test('reads nothing where nobody reads it', async () => {
    let reads = 0;
    const { hub } = start(async () => {
      reads += 1;
      return NOTHING;
    });
    for (let count = 0; count < 10; count += 1) hub.wake();
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(reads, 0);
  });

  test('reads on to the end after one waking, from where its readers are', async () => {
    let newest = 7;
    const { hub, open, asked } = startNumbered(() => newest);
    const one = open();
    await waitFor('the end of what is stored', () => asked.length === 2);
    newest = 1007;
    hub.wake();
    await waitFor('all', () => idsIn(one.text()).length === 1000);
    assert.deepEqual(idsIn(one.text()), numbers(8, 1007));
    assert.ok(asked.every((after) => Number(after) >= 7), asked.join());
    assert.ok(asked.length < 12, asked.join());
  });

  test('reads no faster for one that is behind than it takes what it gets, and no more once it has gone', async () => {
    const { hub, asked } = startNumbered(() => 10_000);
    const begin = () => {
      assert.ok(hub.reserve());
      const response = new PassThrough({ highWaterMark: 1024 });
      hub.open(response, { filter: {}, after: '0', mayStillRead: () => true, onEnded() {} });
      return response;
    };
    const one = begin();
    await waitFor('the first parts', () => one.writableNeedDrain);
    const before = asked.length;
    for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(asked.length, before);
    assert.ok(one.writableLength + one.readableLength < 100_000);
    let text = '';
    one.on('data', (chunk) => { text += String(chunk); });
    await waitFor('all', () => idsIn(text).length === 10_000);
    assert.deepEqual(idsIn(text), numbers(1, 10_000));

    const gone = begin();
    await waitFor('its first parts', () => gone.writableNeedDrain);
    const asOfThen = asked.length;
    gone.destroy();
    await waitFor('its end', () => hub.size() === 1);
    for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(asked.length, asOfThen);
  });

  test('holds one copy of an event, whoever is to get it by whatever filter', async () => {
    let newest = 7;
    const { hub, asked } = startNumbered(() => newest);
    const chunks = [{}, { from: message().from }, { q: 'hello' }].map((filter) => {
      assert.ok(hub.reserve());
      const got: Buffer[] = [];
      const response = new PassThrough().on('data', (chunk: Buffer) => void got.push(chunk));
      hub.open(response, { filter, after: '7', mayStillRead: () => true, onEnded() {} });
      return got;
    });
    await waitFor('all at the end', () => asked.length >= 4);
    newest = 9;
    hub.wake();
    const events = (got: readonly Buffer[]) => got.filter((chunk) => chunk.includes('data: '));
    await waitFor('the events', () => chunks.every((got) => Buffer.concat(events(got)).toString().includes('"message_id":"9"')));
    const [, bySender = [], byText = []] = chunks.map(events);
    assert.equal(bySender.length, 2);
    bySender.forEach((chunk, index) => assert.equal(chunk, byText[index]));
  });

  test('lets nobody join those at the end who has seen less than they have', async () => {
    let newest = 7;
    const { hub, open, asked, held, hold } = startNumbered(() => newest);
    const ahead = open();
    await waitFor('one at the end', () => asked.length === 2);
    hold(true);
    const behind = open();
    await waitFor('its look at what is stored', () => held.length === 1);
    hold(false);
    newest = 9;
    hub.wake();
    await waitFor('the other', () => idsIn(ahead.text()).length === 2);
    held[0]?.release();
    await waitFor('both', () => idsIn(behind.text()).length === 2);
    newest = 10;
    hub.wake();
    await waitFor('the next', () => [ahead, behind].every((reader) => idsIn(reader.text()).length === 3));
    for (const reader of [ahead, behind]) assert.deepEqual(idsIn(reader.text()), [8, 9, 10]);
  });

  test('shows nobody what was read for those who have all gone', async () => {
    let newest = 7;
    const { hub, open, asked, held, hold } = startNumbered(() => newest);
    const first = open();
    await waitFor('one at the end', () => asked.length === 2);
    hold(true);
    newest = 8;
    hub.wake();
    await waitFor('a read for it', () => held.length === 1);
    hold(false);
    first.response.destroy();
    await waitFor('its end', () => hub.size() === 0);
    newest = 9;
    const second = open();
    await waitFor('what is stored', () => idsIn(second.text()).length === 2);
    held[0]?.release();
    newest = 10;
    hub.wake();
    await waitFor('the next', () => idsIn(second.text()).length === 3);
    assert.deepEqual(idsIn(second.text()), [8, 9, 10]);
  });

  test('gives a place back where the reader has gone before it begins', () => {
    const { hub, ends } = start(async () => NOTHING);
    for (let count = 0; count < 5; count += 1) {
      assert.ok(hub.reserve());
      const gone = new PassThrough();
      gone.destroy();
      hub.open(gone, { filter: {}, after: '7', mayStillRead: () => true, onEnded: (end) => void ends.push(end) });
    }
    assert.equal(hub.size(), 0);
  });
});
