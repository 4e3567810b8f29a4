import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite';
import { StorageUnavailable } from '../../../errors.ts';
import type { Message } from '../../../message.ts';
import type { Direction, PlacedMessage } from '../../query.ts';
import type { Receipt } from '../../storage.ts';
import { MOST_UNINDEXED } from '../indexing/schema.ts';
import type { SnapshotGate } from '../snapshot-gate.ts';

export type Row = Readonly<Record<string, unknown>>;
export type Parameters = readonly SQLInputValue[];

/** SQL that selects, with its parameters. */
export interface Selection {
  readonly sql: string;
  readonly parameters: Parameters;
}

/** One moment of the messages and of their index: `total` and `items` that are read from it never contradict each other. */
export interface Snapshot {
  all(sql: string, parameters?: Parameters): Row[];
  /** The same, row by row: what is not asked for is not read. */
  each(sql: string, parameters?: Parameters): Iterable<Row>;
  first(sql: string, parameters?: Parameters): Row | undefined;
  /**
   * Throws StorageUnavailable past the deadline, or where the snapshot is in the way of a log that has to be emptied. A
   * statement cannot be interrupted, so it is asked between short ones.
   */
  requireTime(): void;
}

/** SQL: how many messages there are. Where another program has added some while they are served, they have to be counted. */
export const ALL_MESSAGES = 'ifnull((SELECT messages FROM inbox), (SELECT count(*) FROM messages))';
/** SQL that is true of messages that are not in the index: few, and each read that uses it looks at all of them. */
export const UNINDEXED = 'id > (SELECT indexed_through FROM read_index.progress)';

/**
 * Returns a function that reads from one snapshot, of the messages alone or of their index too (`usesIndex`), until `performance.now()`
 * is past `deadline`.
 */
export function createInSnapshot(database: DatabaseSync, gate: SnapshotGate) {
  const statements = new Map<string, StatementSync>();
  const prepare = (sql: string): StatementSync => {
    const prepared = statements.get(sql) ?? database.prepare(sql);
    statements.set(sql, prepared);
    return prepared;
  };
  const all: Snapshot['all'] = (sql, parameters = []) => prepare(sql).all(...parameters);
  const each: Snapshot['each'] = (sql, parameters = []) => prepare(sql).iterate(...parameters);
  const first: Snapshot['first'] = (sql, parameters = []) => prepare(sql).get(...parameters);

  const requireNearIndex = (): void => {
    // By itself, so that the index is never of a later moment than the messages.
    const indexed = first('SELECT messages FROM read_index.progress')?.['messages'];
    const unindexed = Number(first(`SELECT ${ALL_MESSAGES} AS messages`)?.['messages']) - Number(indexed);
    if (unindexed >= MOST_UNINDEXED) throw new StorageUnavailable('the read index is too far behind');
  };

  return <Result>(deadline: number, usesIndex: boolean, read: (snapshot: Snapshot) => Result): Result => {
    gate.pass();
    database.exec('BEGIN');
    const takenAt = performance.now();
    try {
      const requireTime = () => {
        if (performance.now() > deadline) throw new StorageUnavailable('a read took too long');
        if (gate.mustEnd(takenAt)) throw new StorageUnavailable('the read kept the log from being emptied');
      };
      requireTime();
      if (usesIndex) requireNearIndex();
      return read({ all, each, first, requireTime });
    } finally {
      if (database.isTransaction) database.exec('ROLLBACK');
    }
  };
}

export const toMessage = (row: Row): Message => ({
  message_id: String(row['message_id']),
  from: String(row['from_number']),
  to: String(row['to_number']),
  ts: String(row['ts']),
  text: row['text'] === null ? null : String(row['text']),
});

export const toReceipt = (row: Row): Receipt => ({
  sequence: String(row['sequence']), receivedAt: typeof row['received_at'] === 'number' ? row['received_at'] : null,
});

/** Reads whole messages by their ids, in order of `direction`. `ids` selects a column `id`. */
export function readMessages({ all }: Snapshot, ids: Selection, direction: Direction): PlacedMessage[] {
  const rows = all(`
    SELECT message.message_id, from_number, to_number, ts, text, message.instant, received_at, CAST(message.id AS TEXT) AS sequence
    FROM (${ids.sql}) AS wanted CROSS JOIN messages AS message ON message.id = wanted.id
    ORDER BY message.instant ${direction}, message.message_id ${direction}`, ids.parameters);
  return rows.map((row) => ({
    message: toMessage(row),
    receipt: toReceipt(row),
    position: { instant: String(row['instant']), message_id: String(row['message_id']) },
  }));
}
