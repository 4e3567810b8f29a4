/** What readers ask of the database: pages of messages, and statistics. */
import type { DatabaseSync } from 'node:sqlite';
import { directionOf, type Found, isFiltered, type PlacedMessage, toPage } from '../../query.ts';
import type { Read, ReadAnswer } from '../../reads.ts';
import type { MessagePage, MessageQuery } from '../../storage.ts';
import type { SnapshotGate } from '../snapshot-gate.ts';
import { boundsOfPage, compare } from './bounds.ts';
import { createOrderedRange } from './ordered-range.ts';
import { MATCHES, search } from './search.ts';
import { createInSnapshot, readMessages, type Snapshot } from './snapshot.ts';
import { readHolds, readNewestSequence, readStored } from './stored-order.ts';
import { countMatching, readArrivals, readStats } from './totals.ts';

/** Whether a read takes from the index what it says; others go on without one. */
export function usesIndex(read: Read): boolean {
  if (read.kind === 'list') return read.query.message_id === undefined && (isFiltered(read.query) || read.query.since !== undefined);
  return read.kind === 'stats' || read.kind === 'arrivals';
}

/**
 * Returns what answers reads, each from one snapshot. `database` has the index attached as `read_index`, for reads that use it. Throws
 * StorageUnavailable once `performance.now()` is past `deadline`, and any error of SQLite.
 */
export function createAnswer(database: DatabaseSync, gate: SnapshotGate): (read: Read, deadline: number) => ReadAnswer {
  const inSnapshot = createInSnapshot(database, gate);
  return (read, deadline) => inSnapshot(deadline, usesIndex(read), (snapshot) => answer(snapshot, read));
}

function answer(snapshot: Snapshot, read: Read): ReadAnswer {
  const { kind } = read;
  switch (kind) {
    case 'list': return { kind, result: list(snapshot, read.query) };
    case 'stats': return { kind, result: readStats(snapshot) };
    case 'stored': return { kind, result: readStored(snapshot, read.query) };
    case 'newestSequence': return { kind, result: readNewestSequence(snapshot) };
    case 'holds': return { kind, result: readHolds(snapshot, read.generation, read.sequence) };
    case 'arrivals': return { kind, result: readArrivals(snapshot, read.sinceMinute) };
    default: return kind satisfies never;
  }
}

function list(snapshot: Snapshot, query: MessageQuery): MessagePage {
  return toPage(find(snapshot, query), query);
}

function find(snapshot: Snapshot, query: MessageQuery): Found {
  if (query.message_id !== undefined) return findOne(snapshot, query, query.message_id);
  return query.q === undefined ? listInOrder(snapshot, query) : search(snapshot, query, query.q);
}

/** The one message of an id, if it matches: without the index. */
function findOne(snapshot: Snapshot, query: MessageQuery, message_id: string): Found {
  const { from, since, q, offset } = query;
  const conditions = [
    { sql: `message_id = ? AND ${snapshot.isVisible('messages.id')}`, parameters: [message_id] },
    ...(from === undefined ? [] : [{ sql: 'from_number = ?', parameters: [from] }]),
    ...(since === undefined ? [] : [{ sql: 'instant >= ?', parameters: [since] }]),
    ...(q === undefined ? [] : [{ sql: MATCHES, parameters: [q] }]),
  ];
  const messages = readMessages(snapshot, {
    sql: `SELECT id FROM messages WHERE ${conditions.map(({ sql }) => sql).join(' AND ')}`,
    parameters: conditions.flatMap(({ parameters }) => parameters),
  }, 'ASC');
  const { begin, end } = boundsOfPage(query);
  const isOnPage = ({ position }: PlacedMessage) => compare(position, begin) >= 0 && (end === undefined || compare(position, end) < 0);
  return { total: messages.length, messages: messages.filter(isOnPage).slice(offset) };
}

function listInOrder(snapshot: Snapshot, query: MessageQuery): Found {
  const { from, limit, offset } = query;
  const range = createOrderedRange(snapshot, from);
  const total = countMatching(snapshot, query, range);
  if (offset >= total) return { total, messages: [] };
  return { total, messages: range.read(boundsOfPage(query), directionOf(query), limit + 1, offset) };
}
