import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite';
import { StorageUnavailable } from '../../../errors.ts';
import type { Message } from '../../../message.ts';
import type { Direction, PlacedMessage } from '../../query.ts';
import type { Receipt } from '../../storage.ts';
import { countVisible, type HiddenNow, isExpiredRow, isVisible, selectHiddenNow } from '../file/hidden.ts';
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
  /** SQL that is true of a message that is not hidden; `id`: SQL of its id. */
  isVisible(id: string): string;
  /** Whether hidden messages are in the index, so that what it says is of more than there is. */
  readonly isIndexAhead: boolean;
  /**
   * Throws StorageUnavailable past the deadline, or where the snapshot is in the way of a log that has to be emptied. A
   * statement cannot be interrupted, so it is asked between short ones.
   */
  requireTime(): void;
}

/** SQL: how many messages there are. Where another program has added some while they are served, they have to be counted. */
export const ALL_MESSAGES = `ifnull((SELECT messages FROM inbox), ${countVisible()})`;
/** Selects the hidden messages that are in the index: few, but for a moment after many have vanished. */
export const HIDDEN_IN_INDEX = `(
  SELECT messages.id, from_number, instant, message_id, received_at FROM messages NOT INDEXED
  WHERE ${isExpiredRow('main', '(SELECT expired_out_through FROM read_index.progress)')}
    AND messages.id <= (SELECT indexed_through FROM read_index.progress)
  UNION ALL
  SELECT messages.id, from_number, instant, message_id, received_at FROM hidden CROSS JOIN messages USING (id)
  WHERE number > (SELECT erased_out_through FROM read_index.progress)
    AND messages.id <= (SELECT indexed_through FROM read_index.progress))`;
/** SQL that is true of messages that are not in the index: few, and each read that uses it looks at all of them. */
export const UNINDEXED = 'id > (SELECT indexed_through FROM read_index.progress)';

const HIDDEN_NOW = selectHiddenNow('main');
/** Ids as text, as they may be larger than a JavaScript number is exact. */
const INDEX_STATE = `
  SELECT messages, taken_out, CAST(expired_out_through AS TEXT) AS expired, CAST(erased_out_through AS TEXT) AS erased
  FROM read_index.progress`;
const STATE_BESIDE_INDEX = `
  SELECT ${ALL_MESSAGES} AS messages, vanished,
    CAST(? AS INTEGER) < expired_removed OR CAST(? AS INTEGER) < erased_removed AS is_behind
  FROM inbox`;
const MOST_ATTEMPTS = 5;
const TOO_FAR_BEHIND = () => new StorageUnavailable('the read index is too far behind');

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

  /** Undefined where messages are gone that are in the index: it is of an earlier moment than they. */
  const lookAtIndex = (): { readonly isIndexAhead: boolean } | undefined => {
    // By itself, so that the index is never of a later moment than the messages.
    const index = first(INDEX_STATE) ?? {};
    const state = first(STATE_BESIDE_INDEX, [String(index['expired']), String(index['erased'])]) ?? {};
    if (state['is_behind'] === 1) return undefined;
    const inIndex = Number(state['vanished']) - Number(index['taken_out']);
    if (Number(state['messages']) + inIndex - Number(index['messages']) >= MOST_UNINDEXED) throw TOO_FAR_BEHIND();
    return { isIndexAhead: inIndex > 0 };
  };
  const lookAtHidden = () => {
    const { are_expired, are_undated, are_erased } = first(HIDDEN_NOW) ?? {};
    const now: HiddenNow = { areExpired: are_expired === 1, areUndated: are_undated === 1, areErased: are_erased === 1 };
    return { isVisible: (id: string) => isVisible(id, now) };
  };

  /** Begins one, again where the index was of an earlier moment: that is seldom so, and not twice in a row. */
  function begin(usesIndex: boolean): { readonly isIndexAhead: boolean } {
    for (let attempt = 0; attempt < MOST_ATTEMPTS; attempt += 1) {
      database.exec('BEGIN');
      const found = usesIndex ? lookAtIndex() : { isIndexAhead: false };
      if (found !== undefined) return found;
      database.exec('ROLLBACK');
    }
    throw TOO_FAR_BEHIND();
  }

  return <Result>(deadline: number, usesIndex: boolean, read: (snapshot: Snapshot) => Result): Result => {
    gate.pass();
    const takenAt = performance.now();
    try {
      const { isIndexAhead } = begin(usesIndex);
      const requireTime = () => {
        if (performance.now() > deadline) throw new StorageUnavailable('a read took too long');
        if (gate.mustEnd(takenAt)) throw new StorageUnavailable('the read kept the log from being emptied');
      };
      requireTime();
      return read({ all, each, first, requireTime, isIndexAhead, ...lookAtHidden() });
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
