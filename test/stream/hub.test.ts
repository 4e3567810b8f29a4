/** The hub of streams by itself, where time and a storage that fails are needed. */
import assert from 'node:assert/strict';
import { PassThrough, Writable } from 'node:stream';
import { describe, test } from 'node:test';
import { StorageUnavailable } from '../../src/errors.ts';
import type { StreamEnd } from '../../src/observe/metrics.ts';
import type { Storage, StoredMessages } from '../../src/storage/storage.ts';
import { createStreamHub } from '../../src/stream/hub.ts';
import { writeStreamPosition } from '../../src/query/positions.ts';
import { message } from '../support/messages.ts';
import { waitFor } from '../support/wait.ts';

const NOTHING: StoredMessages = { items: [], through: '7', isAll: true };

function start(stored: Storage['stored'], maxStreams = 3) {
  const logs: { readonly event: string; readonly reason?: unknown }[] = [];
  const refusals = { total: 0 };
  const hub = createStreamHub({
    maxStreams, storage: { generation: 'g', stored }, log: (_level, event, fields) => void logs.push({ event, ...fields }),
    metrics: { streamReadRefused: () => { refusals.total += 1; } },
  });
  const ends: StreamEnd[] = [];
  const open = () => {
    assert.ok(hub.reserve());
    const response = new PassThrough();
    let text = '';
    response.on('data', (chunk) => { text += String(chunk); });
    hub.open(response, { filter: {}, fields: [], after: '7', client: '', mayStillRead: () => true, onEnded: (end) => void ends.push(end) });
    return { response, text: () => text };
  };
  return { hub, open, ends, logs, refusals };
}

/** A storage of messages with the sequences 1 to `newest()`, whose reads are of the moment in which they are asked. */
function startNumbered(newest: () => number, changes: Parameters<typeof message>[0] = {}, maxStreams = 3) {
  const asked: string[] = [];
  const held: { readonly after: string; release: () => void }[] = [];
  let isHolding = false;
  const stored: Storage['stored'] = async ({ after, limit }) => {
    asked.push(after);
    const first = Number(after) + 1;
    const last = Math.min(newest(), Number(after) + limit);
    const items = Array.from({ length: Math.max(0, last - first + 1) }, (_, index) =>
      ({ sequence: String(first + index), receivedAt: null, message: message({ message_id: String(first + index), ...changes }) }));
    const part = { items, through: String(Math.max(last, Number(after))), isAll: last === newest() };
    if (isHolding) await new Promise<void>((release) => held.push({ after, release }));
    return part;
  };
  return { ...start(stored, maxStreams), stored, asked, held, hold: (holds: boolean) => { isHolding = holds; } };
}

/** The same, whose reads are refused while it `fails`. */
function startFailing(fails: () => boolean, newest: () => number) {
  const numbered = startNumbered(newest);
  const parts = start(async (query) => {
    if (fails()) throw new StorageUnavailable('too many reads are waiting');
    return numbered.stored(query);
  });
  return { ...parts, numbered };
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

  test('holds the streams that a failing storage cannot go on with, tells of it once, and goes on with them', async (t) => {
    let fails = true;
    let newest = 8;
    const { hub, open, ends, logs, refusals, numbered } = startFailing(() => fails, () => newest);
    t.after(hub.close);
    const readers = [open(), open()];
    await waitFor('two refusals each', () => refusals.total >= 4);
    assert.deepEqual(logs, [{ event: 'read_refused', path: '/messages/stream', reason: 'too many reads are waiting' }]);
    fails = false;
    await waitFor('the message', () => readers.every((reader) => idsIn(reader.text()).length === 1));
    await waitFor('the line', () => logs.length === 2);
    assert.deepEqual(logs[1], { event: 'stream_reads_resumed' });

    await waitFor('both at the end', () => numbered.asked.length >= 4);
    fails = true;
    newest = 300;
    for (let wakes = 0; wakes < 5; wakes += 1) hub.wake();
    await waitFor('the next refusal', () => logs.length === 3);
    newest = 600;
    hub.wake();
    fails = false;
    await waitFor('all', () => readers.every((reader) => idsIn(reader.text()).length === 593));
    for (const reader of readers) assert.deepEqual(idsIn(reader.text()), numbers(8, 600));
    assert.deepEqual(ends, []);
  });

  test('shows that the connection stands, lets readers go and come, and ends with the service while a read is tried again', async (t) => {
    t.mock.timers.enable({ apis: ['setInterval'] });
    let fails = true;
    const { hub, open, ends, refusals } = startFailing(() => fails, () => 8);
    const [gone, stays] = [open(), open()];
    await waitFor('refusals', () => refusals.total >= 2);
    t.mock.timers.tick(15_000);
    await waitFor('the heartbeat', () => stays.text().includes(': heartbeat'));
    gone.response.destroy();
    await waitFor('its end', () => ends.length === 1);
    const comes = open();
    fails = false;
    await waitFor('the message', () => [stays, comes].every((reader) => idsIn(reader.text()).length === 1));
    assert.doesNotMatch(gone.text(), /data: /);
    fails = true;
    const { total } = refusals;
    hub.wake();
    const behind = open();
    await waitFor('refusals at the end and behind', () => refusals.total >= total + 2);
    hub.close();
    await waitFor('their ends', () => ends.length === 4);
    assert.deepEqual(ends, ['client_gone', 'shutting_down', 'shutting_down', 'shutting_down']);
    fails = false;
    assert.deepEqual(idsIn(behind.text()), []);
  });

  test('ends the streams whose token is revoked while a read is tried again', async () => {
    let isAllowed = true;
    const { hub, ends, refusals } = startFailing(() => true, () => 8);
    assert.ok(hub.reserve());
    hub.open(new PassThrough().resume(), { filter: {}, fields: [], client: '', after: '7', mayStillRead: () => isAllowed, onEnded: (end) => void ends.push(end) });
    await waitFor('a refusal', () => refusals.total > 0);
    isAllowed = false;
    hub.recheck();
    assert.equal(hub.size(), 1);
    await waitFor('its end', () => hub.size() === 0);
    const { total } = refusals;
    assert.deepEqual(ends, ['no_longer_authorized']);
    hub.wake();
    assert.equal(refusals.total, total);
  });

  test('ends the streams of a storage that is closed', async () => {
    let isClosed = false;
    const { hub, open, ends } = start(async () => {
      if (isClosed) throw new StorageUnavailable('the storage is closed');
      return NOTHING;
    });
    const atEnd = open();
    await waitFor('the beginning', () => atEnd.text() !== '');
    isClosed = true;
    open();
    await waitFor('its end', () => ends.length === 1);
    hub.wake();
    await waitFor('the other end', () => ends.length === 2);
    assert.deepEqual(ends, ['storage_unavailable', 'storage_unavailable']);
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
      hub.open(response, { filter: {}, fields: [], after: '0', client: '', mayStillRead: () => true, onEnded() {} });
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
      hub.open(response, { filter, fields: [], after: '7', client: '', mayStillRead: () => true, onEnded() {} });
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

  test('holds little for readers that take nothing, at the end and behind, beside one that takes all', async (t) => {
    for (const [filter, changes] of [[{}, {}], [{ q: '\u0001' }, {}], [{ from: message().from }, { text: 'x' }]] as const) {
      let newest = 40;
      const { stored, asked } = startNumbered(() => newest, { text: '\u0001'.repeat(4000), ...changes });
      const { hub, ends } = start(async (query) => {
        const part = await stored(query);
        // As each read does: what was written meanwhile leaves.
        await new Promise((resolve) => setImmediate(resolve));
        return part;
      }, 30);
      t.after(hub.close);
      const begin = (after: string, take: (chunk: Buffer, taken: () => void) => void) => {
        assert.ok(hub.reserve());
        const response = new Writable({ highWaterMark: 64 * 1024, write: (chunk, _encoding, taken) => take(chunk, taken) });
        hub.open(response, { filter, fields: [], client: '', after, mayStillRead: () => true, onEnded: (end) => void ends.push(end) });
        return response;
      };
      const silent = ['0', '0', '0', '40', '40', '40'].map((after) => begin(after, () => {}));
      let text = '';
      begin('40', (chunk, taken) => {
        text += String(chunk);
        taken();
      });
      await waitFor('all begun', () => asked.length >= silent.length);
      let most = 0;
      while (newest < 8000 && ends.length < 3) {
        newest += 40;
        hub.wake();
        await waitFor('what is new', () => idsIn(text).at(-1) === newest);
        most = Math.max(most, ...silent.filter(({ destroyed }) => !destroyed).map(({ writableLength }) => writableLength));
      }
      assert.ok(most > 32 * 1024 && most <= 256 * 1024, `${most} bytes`);
      assert.deepEqual(new Set(ends), new Set(['too_slow']));
      assert.deepEqual(idsIn(text), numbers(41, newest));
    }
  });

  test('ends those for whom the most waits where too much waits for all together', async (t) => {
    const STREAMS = 400;
    const { hub, ends } = startNumbered(() => 1000, { text: '\u0001'.repeat(4000) }, STREAMS);
    t.after(hub.close);
    const responses = Array.from({ length: STREAMS }, () => {
      assert.ok(hub.reserve());
      const response = new PassThrough({ highWaterMark: 64 * 1024 });
      hub.open(response, { filter: {}, fields: [], client: '', after: '0', mayStillRead: () => true, onEnded: (end) => void ends.push(end) });
      return response;
    });
    await waitFor('room', () => ends.length > 0 && responses.every((response) => response.destroyed || response.writableNeedDrain));
    const waiting = responses.filter(({ destroyed }) => !destroyed).reduce((sum, response) => sum + response.writableLength, 0);
    assert.ok(waiting <= 33 * 1024 * 1024, `${waiting} bytes`);
    assert.deepEqual(new Set(ends), new Set(['too_slow']));
    assert.ok(hub.size() > STREAMS / 4);
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
      hub.open(gone, { filter: {}, fields: [], after: '7', client: '', mayStillRead: () => true, onEnded: (end) => void ends.push(end) });
    }
    assert.equal(hub.size(), 0);
  });
});
