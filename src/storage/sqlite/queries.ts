/**
 * What readers ask of the database. A running statement cannot be interrupted, so none may run long: every read is made
 * of steps, each over a bounded number of index entries, and looks at its deadline between them.
 */
import type { DatabaseSync, SQLInputValue } from 'node:sqlite';
import { StorageUnavailable } from '../../errors.ts';
import type { Message } from '../../message.ts';
import type { MessagePage, MessageQuery, Stats } from '../storage.ts';

/** Index entries walked in one step: a few milliseconds. */
const WALK_STEP_ENTRIES = 20_000;
/** Rows whose text is searched in one step; the largest texts are 16 KB. */
const SEARCH_STEP_ROWS = 2_000;
const TOP_SENDERS = 10;

type Row = Readonly<Record<string, unknown>>;

/** A place in the order of messages: an instant, then an id. */
interface Key {
  readonly instant: string;
  readonly message_id: string;
}

export interface Reads {
  /** Throws StorageUnavailable once `performance.now()` is past `deadline`, and any error of SQLite. */
  list(query: MessageQuery, deadline: number): MessagePage;
  stats(): Stats;
}

export function createReads(database: DatabaseSync): Reads {
  /** Everything inside sees one snapshot, so that `total` and `items` never contradict each other. */
  function inReadTransaction<Result>(read: () => Result): Result {
    database.exec('BEGIN');
    try {
      return read();
    } finally {
      if (database.isTransaction) database.exec('ROLLBACK');
    }
  }

  const all = (sql: string, parameters: readonly SQLInputValue[] = []): Row[] => database.prepare(sql).all(...parameters);
  const first = (sql: string, parameters: readonly SQLInputValue[] = []): Row | undefined => database.prepare(sql).get(...parameters);

  return {
    list: (query, deadline) => inReadTransaction(() => {
      const walk = createWalk(first, query, deadline);
      return query.q === undefined ? listAll(all, first, query, walk) : search(all, first, query, query.q, walk);
    }),
    stats: () => inReadTransaction(() => readStats(all, first)),
  };
}

type All = (sql: string, parameters?: readonly SQLInputValue[]) => Row[];
type First = (sql: string, parameters?: readonly SQLInputValue[]) => Row | undefined;

/** The messages that match sender and time, as a range of one covering index. */
interface Walk {
  readonly start: Key;
  /** SQL that selects from `from` on, up to `to` where that is given. */
  range(from: Key, to?: Key): { readonly sql: string; readonly parameters: readonly string[] };
  /** The key that is `entries` after `from`, or undefined where the range ends before. At most one step's worth. */
  advance(from: Key, entries: number): Key | undefined;
}

function createWalk(first: First, query: MessageQuery, deadline: number): Walk {
  const index = query.from === undefined ? 'messages_by_instant' : 'messages_by_sender';
  const sender = query.from === undefined ? { sql: '', parameters: [] } : { sql: 'from_number = ? AND', parameters: [query.from] };

  const range: Walk['range'] = (from, to) => ({
    sql: `FROM messages INDEXED BY ${index} WHERE ${sender.sql} (instant, message_id) >= (?, ?)
      ${to === undefined ? '' : 'AND (instant, message_id) < (?, ?)'}`,
    parameters: [...sender.parameters, from.instant, from.message_id, ...(to === undefined ? [] : [to.instant, to.message_id])],
  });
  return {
    start: { instant: query.since ?? '', message_id: '' },
    range,
    advance(from, entries) {
      if (performance.now() > deadline) throw new StorageUnavailable('a read took too long');
      const { sql, parameters } = range(from);
      const row = first(`SELECT instant, message_id ${sql} ORDER BY instant, message_id LIMIT 1 OFFSET ?`, [...parameters, entries]);
      return row && { instant: String(row['instant']), message_id: String(row['message_id']) };
    },
  };
}

/** A page without a search: the total is kept or walked, the offset is walked, and only the page's rows are read. */
function listAll(all: All, first: First, query: MessageQuery, walk: Walk): MessagePage {
  const total = query.since === undefined ? keptTotal(first, query.from) : countFrom(first, walk, walk.start);
  if (query.offset >= total) return { items: [], total };
  let from: Key | undefined = walk.start;
  for (let left = query.offset; left > 0 && from !== undefined; left -= WALK_STEP_ENTRIES) {
    from = walk.advance(from, Math.min(left, WALK_STEP_ENTRIES));
  }
  return { items: from === undefined ? [] : readItems(all, walk.range(from), query.limit, 0), total };
}

function keptTotal(first: First, from: string | undefined): number {
  const kept = from === undefined
    ? first('SELECT messages FROM inbox')
    : first('SELECT messages FROM senders WHERE from_number = ?', [from]);
  return Number(kept?.['messages'] ?? 0);
}

function countFrom(first: First, walk: Walk, start: Key): number {
  let counted = 0;
  let from = start;
  for (;;) {
    const next = walk.advance(from, WALK_STEP_ENTRIES);
    if (next === undefined) break;
    counted += WALK_STEP_ENTRIES;
    from = next;
  }
  const { sql, parameters } = walk.range(from);
  return counted + Number(first(`SELECT count(*) AS entries ${sql}`, parameters)?.['entries']);
}

/** A page of a search: every text in range is looked at, step by step, and those of the page are kept. */
function search(all: All, first: First, query: MessageQuery, q: string, walk: Walk): MessagePage {
  const items: Message[] = [];
  let total = 0;
  let from: Key | undefined = walk.start;
  while (from !== undefined) {
    const to = walk.advance(from, SEARCH_STEP_ROWS);
    const { sql, parameters } = walk.range(from, to);
    // Not LIKE: that stops at a NUL in the pattern, gives % and _ a meaning, and is an error past 50,000 bytes.
    const matching = { sql: `${sql} AND instr(lower(text), lower(?)) > 0`, parameters: [...parameters, q] };
    const found = Number(first(`SELECT count(*) AS found ${matching.sql}`, matching.parameters)?.['found']);
    const wanted = query.limit - items.length;
    const skipped = Math.max(0, query.offset - total);
    if (wanted > 0 && skipped < found) items.push(...readItems(all, matching, wanted, skipped));
    total += found;
    from = to;
  }
  return { items, total };
}

function readItems(all: All, { sql, parameters }: ReturnType<Walk['range']>, limit: number, offset: number): Message[] {
  const rows = all(`SELECT message_id, from_number, to_number, ts, text ${sql} ORDER BY instant, message_id LIMIT ? OFFSET ?`,
    [...parameters, limit, offset]);
  return rows.map((row) => ({
    message_id: String(row['message_id']),
    from: String(row['from_number']),
    to: String(row['to_number']),
    ts: String(row['ts']),
    text: row['text'] === null ? null : String(row['text']),
  }));
}

/** The counts are kept by the writer, so this costs the same however many messages there are. */
function readStats(all: All, first: First): Stats {
  const totals = first('SELECT messages, senders FROM inbox');
  const top = all('SELECT from_number, messages FROM senders ORDER BY messages DESC, from_number LIMIT ?', [TOP_SENDERS]);
  const tsAtEnd = (direction: 'ASC' | 'DESC'): string | null => {
    const row = first(`SELECT ts FROM messages ORDER BY instant ${direction}, message_id ${direction} LIMIT 1`);
    return row === undefined ? null : String(row['ts']);
  };
  return {
    total: Number(totals?.['messages']),
    senders: Number(totals?.['senders']),
    topSenders: top.map((row) => ({ from: String(row['from_number']), count: Number(row['messages']) })),
    firstTs: tsAtEnd('ASC'),
    lastTs: tsAtEnd('DESC'),
  };
}
