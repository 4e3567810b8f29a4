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
      const range = createKeysetRange(first, query, deadline);
      return query.q === undefined ? listAll(all, first, query, range) : search(all, first, query, query.q, range);
    }),
    stats: () => inReadTransaction(() => readStats(all, first)),
  };
}

type All = (sql: string, parameters?: readonly SQLInputValue[]) => Row[];
type First = (sql: string, parameters?: readonly SQLInputValue[]) => Row | undefined;

/** The messages of one sender, or of all, from an instant on: a range of one covering index. */
interface KeysetRange {
  readonly start: Key;
  /** SQL that selects what lies from `begin` on, and before `end` where that is given. */
  between(begin: Key, end?: Key): Selection;
  /**
   * The key that is `entries` after `begin`, or undefined where the range ends before. At most one step's worth. Throws
   * StorageUnavailable past the deadline, so every read that goes on step by step ends in time.
   */
  seek(begin: Key, entries: number): Key | undefined;
}

/** SQL from FROM on, with its parameters. */
interface Selection {
  readonly sql: string;
  readonly parameters: readonly string[];
}

function createKeysetRange(first: First, query: MessageQuery, deadline: number): KeysetRange {
  const ofSender = query.from === undefined ? [] : [query.from];
  const indexed = query.from === undefined
    ? 'FROM messages INDEXED BY messages_by_instant WHERE'
    : 'FROM messages INDEXED BY messages_by_sender WHERE from_number = ? AND';

  const between: KeysetRange['between'] = (begin, end) => {
    const from: Selection = {
      sql: `${indexed} (instant, message_id) >= (?, ?)`,
      parameters: [...ofSender, begin.instant, begin.message_id],
    };
    if (end === undefined) return from;
    return { sql: `${from.sql} AND (instant, message_id) < (?, ?)`, parameters: [...from.parameters, end.instant, end.message_id] };
  };
  return {
    start: { instant: query.since ?? '', message_id: '' },
    between,
    seek(begin, entries) {
      if (performance.now() > deadline) throw new StorageUnavailable('a read took too long');
      const { sql, parameters } = between(begin);
      const row = first(`SELECT instant, message_id ${sql} ORDER BY instant, message_id LIMIT 1 OFFSET ?`, [...parameters, entries]);
      return row && { instant: String(row['instant']), message_id: String(row['message_id']) };
    },
  };
}

/** A page without a search: the total is kept or counted along the index, the offset is skipped along it. */
function listAll(all: All, first: First, query: MessageQuery, range: KeysetRange): MessagePage {
  const total = query.since === undefined ? keptTotal(first, query.from) : countRange(first, range);
  if (query.offset >= total) return { items: [], total };
  let begin: Key | undefined = range.start;
  for (let left = query.offset; left > 0 && begin !== undefined; left -= WALK_STEP_ENTRIES) {
    begin = range.seek(begin, Math.min(left, WALK_STEP_ENTRIES));
  }
  return { items: begin === undefined ? [] : readItems(all, range.between(begin), query.limit, 0), total };
}

function keptTotal(first: First, sender: string | undefined): number {
  const kept = sender === undefined
    ? first('SELECT messages FROM inbox')
    : first('SELECT messages FROM senders WHERE from_number = ?', [sender]);
  return Number(kept?.['messages'] ?? 0);
}

function countRange(first: First, range: KeysetRange): number {
  let counted = 0;
  let begin = range.start;
  for (let next = range.seek(begin, WALK_STEP_ENTRIES); next !== undefined; next = range.seek(begin, WALK_STEP_ENTRIES)) {
    counted += WALK_STEP_ENTRIES;
    begin = next;
  }
  const { sql, parameters } = range.between(begin);
  return counted + Number(first(`SELECT count(*) AS entries ${sql}`, parameters)?.['entries']);
}

/** A page of a search: every text in range is looked at, step by step, and those of the page are kept. */
function search(all: All, first: First, query: MessageQuery, q: string, range: KeysetRange): MessagePage {
  const items: Message[] = [];
  let total = 0;
  let begin: Key | undefined = range.start;
  while (begin !== undefined) {
    const end = range.seek(begin, SEARCH_STEP_ROWS);
    const { sql, parameters } = range.between(begin, end);
    // Not LIKE: that stops at a NUL in the pattern, gives % and _ a meaning, and is an error past 50,000 bytes.
    const matching: Selection = { sql: `${sql} AND instr(lower(text), lower(?)) > 0`, parameters: [...parameters, q] };
    const found = Number(first(`SELECT count(*) AS found ${matching.sql}`, matching.parameters)?.['found']);
    const wanted = query.limit - items.length;
    const skipped = Math.max(0, query.offset - total);
    if (wanted > 0 && skipped < found) items.push(...readItems(all, matching, wanted, skipped));
    total += found;
    begin = end;
  }
  return { items, total };
}

function readItems(all: All, { sql, parameters }: Selection, limit: number, offset: number): Message[] {
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
