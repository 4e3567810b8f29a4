import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { StorageUnavailable } from '../../src/errors.ts';
import { createGroupCommit } from '../../src/storage/group-commit.ts';

/** A group commit over numbers whose commits end when the test says so. */
function setUp(limits: { capacity?: number } = {}) {
  const commits: { items: readonly number[]; succeed: () => void; fail: (error: Error) => void; answer: (outcomes: string[]) => void }[] = [];
  const queue = createGroupCommit<number, string>({
    capacity: 10, ...limits,
    commit: (items) => new Promise((resolve, reject) => {
      commits.push({ items, succeed: () => resolve(items.map(String)), fail: reject, answer: resolve });
    }),
  });
  /** The commit with this number, which must have begun by now. */
  const commit = (index: number) => {
    const found = commits[index];
    assert.ok(found, `commit ${index} has not begun`);
    return found;
  };
  return { queue, commits, commit };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));
const unavailable = (reason: string) => (error: unknown) => error instanceof StorageUnavailable && error.reason === reason;

describe('createGroupCommit', () => {
  test('hands a lone item on at the end of the turn in which it came', async () => {
    const { queue, commit } = setUp();
    const added = queue.add(1);
    await turn();
    assert.deepEqual(commit(0).items, [1]);
    commit(0).succeed();
    assert.equal(await added, '1');
  });

  test('hands on together what came in one turn, in order, and the next turn without waiting for it', async () => {
    const { queue, commits, commit } = setUp();
    const added = [1, 2, 3].map((item) => queue.add(item));
    await turn();
    added.push(queue.add(4));
    await turn();
    assert.deepEqual(commits.map(({ items }) => items), [[1, 2, 3], [4]]);
    commit(1).succeed();
    commit(0).succeed();
    assert.deepEqual(await Promise.all(added), ['1', '2', '3', '4']);
  });

  test('rejects all of a failed batch and none of another', async () => {
    const { queue, commit } = setUp();
    const first = queue.add(1);
    await turn();
    const second = queue.add(2);
    await turn();
    commit(0).fail(new StorageUnavailable('the disk is full'));
    commit(1).succeed();
    await assert.rejects(first, unavailable('the disk is full'));
    assert.equal(await second, '2');
  });

  test('takes a batch that is answered in part as failed', async () => {
    const { queue, commit } = setUp();
    const added = queue.add(1);
    await turn();
    commit(0).answer([]);
    await assert.rejects(added, unavailable('the database failed'));
  });

  test('refuses at once past its capacity, those being committed included, and accepts again when there is room', async () => {
    const { queue, commit } = setUp({ capacity: 2 });
    const first = queue.add(1);
    void queue.add(2);
    assert.equal(queue.depth(), 2);
    assert.equal(queue.hasRoom(), false);
    await assert.rejects(queue.add(3), unavailable('the queue is full'));
    await turn();
    commit(0).succeed();
    await first;
    await turn();
    assert.equal(queue.hasRoom(), true);
  });

  test('answers all that were added before it was closed, and takes no more', async () => {
    const { queue, commit } = setUp();
    const added = [queue.add(1), queue.add(2)];
    const closed = queue.close();
    await assert.rejects(queue.add(3), unavailable('the storage is closed'));
    await turn();
    commit(0).succeed();
    await closed;
    assert.deepEqual(await Promise.all(added), ['1', '2']);
  });
});
