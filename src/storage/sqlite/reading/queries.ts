/** What readers ask of the database: pages of messages, and statistics. */
import type { DatabaseSync } from 'node:sqlite';
import { boundsOfPage, directionOf, type Found, toPage } from '../../query.ts';
import type { Arrivals, MessagePage, MessageQuery, Sequence, Stats, StoredMessages, StoredQuery } from '../../storage.ts';
import type { SnapshotGate } from '../snapshot-gate.ts';
import { createOrderedRange } from './ordered-range.ts';
import type { Read } from './protocol.ts';
import { search } from './search.ts';
import { createInSnapshot, type Snapshot } from './snapshot.ts';
import { readHolds, readNewestSequence, readStored } from './stored-order.ts';
import { countMatching, readArrivals, readStats } from './totals.ts';

export interface Reads {
  /** All throw StorageUnavailable once `performance.now()` is past `deadline`, and any error of SQLite. */
  list(query: MessageQuery, deadline: number): MessagePage;
  stats(deadline: number): Stats;
  stored(query: StoredQuery, deadline: number): StoredMessages;
  newestSequence(deadline: number): Sequence;
  holds(generation: string, sequence: Sequence, deadline: number): boolean;
  arrivals(sinceMinute: number, deadline: number): Arrivals[];
}

/** Whether a read takes from the index what it says; others go on without one. */
export function usesIndex(read: Read): boolean {
  if (read.kind === 'list') return read.query.from !== undefined || read.query.since !== undefined || read.query.q !== undefined;
  return read.kind === 'stats' || read.kind === 'arrivals';
}

/** `database` has the index attached as `read_index`, for reads that use it. */
export function createReads(database: DatabaseSync, gate: SnapshotGate): Reads {
  const inSnapshot = createInSnapshot(database, gate);
  return {
    list: (query, deadline) => inSnapshot(deadline, usesIndex({ kind: 'list', query }), (snapshot) => {
      const found = query.q === undefined ? listInOrder(snapshot, query) : search(snapshot, query, query.q);
      return toPage(found, query.limit);
    }),
    stats: (deadline) => inSnapshot(deadline, true, readStats),
    stored: (query, deadline) => inSnapshot(deadline, false, (snapshot) => readStored(snapshot, query)),
    newestSequence: (deadline) => inSnapshot(deadline, false, readNewestSequence),
    holds: (generation, sequence, deadline) => inSnapshot(deadline, false, (snapshot) => readHolds(snapshot, generation, sequence)),
    arrivals: (sinceMinute, deadline) => inSnapshot(deadline, true, (snapshot) => readArrivals(snapshot, sinceMinute)),
  };
}

function listInOrder(snapshot: Snapshot, query: MessageQuery): Found {
  const { from, limit, offset } = query;
  const range = createOrderedRange(snapshot, from);
  const total = countMatching(snapshot, query, range);
  if (offset >= total) return { total, messages: [] };
  return { total, messages: range.read(boundsOfPage(query), directionOf(query), limit + 1, offset) };
}
