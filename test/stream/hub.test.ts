/** The hub of streams by itself, where time and a storage that fails are needed. */
import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { describe, test } from 'node:test';
import { StorageUnavailable } from '../../src/errors.ts';
import type { StreamEnd } from '../../src/observe/metrics.ts';
import type { Storage, StoredMessages } from '../../src/storage/storage.ts';
import { createStreamHub } from '../../src/stream/hub.ts';
import { writeStreamPosition } from '../../src/query/stream-position.ts';
import { waitFor } from '../support/wait.ts';

const NOTHING: StoredMessages = { items: [], through: '7', isAll: true };

function start(stored: Storage['stored']) {
  const hub = createStreamHub({ maxStreams: 2, storage: { generation: 'g', stored } });
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
