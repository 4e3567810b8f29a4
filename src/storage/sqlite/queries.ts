import type { DatabaseSync } from 'node:sqlite';
import type { Message } from '../../message.ts';
import type { MessagePage, MessageQuery, Stats } from '../storage.ts';

type Row = ReturnType<ReturnType<DatabaseSync['prepare']>['all']>[number];

/** Both statements see one snapshot, so that `total` and `items` never contradict each other. */
function atOneMoment<Result>(database: DatabaseSync, read: () => Result): Result {
  database.exec('BEGIN');
  try {
    return read();
  } finally {
    database.exec('COMMIT');
  }
}

export function listMessages(database: DatabaseSync, query: MessageQuery): MessagePage {
  const { where, parameters } = filter(query);
  return atOneMoment(database, () => {
    const counted = database.prepare(`SELECT count(*) AS total FROM messages ${where}`).get(...parameters);
    const page = database.prepare(`
      SELECT message_id, from_number, to_number, ts, text FROM messages ${where}
      ORDER BY instant, message_id LIMIT ? OFFSET ?`);
    const items = page.all(...parameters, query.limit, query.offset).map(toMessage);
    return { items, total: Number(counted?.['total']) };
  });
}

function filter(query: MessageQuery): { where: string; parameters: string[] } {
  const conditions: string[] = [];
  const parameters: string[] = [];
  const match = (condition: string, value: string | undefined) => {
    if (value === undefined) return;
    conditions.push(condition);
    parameters.push(value);
  };
  match('from_number = ?', query.from);
  match('instant >= ?', query.since);
  // Not LIKE: that stops at a NUL in the pattern, gives % and _ a meaning, and is an error past 50,000 bytes.
  match('instr(lower(text), lower(?)) > 0', query.q);
  return { where: conditions.length === 0 ? '' : `WHERE ${conditions.join(' AND ')}`, parameters };
}

function toMessage(row: Row): Message {
  return {
    message_id: String(row['message_id']),
    from: String(row['from_number']),
    to: String(row['to_number']),
    ts: String(row['ts']),
    text: row['text'] === null ? null : String(row['text']),
  };
}

const TOP_SENDERS = 10;

export function readStats(database: DatabaseSync): Stats {
  return atOneMoment(database, () => {
    const totals = database.prepare('SELECT count(*) AS total, count(DISTINCT from_number) AS senders FROM messages').get();
    const top = database.prepare(`
      SELECT from_number, count(*) AS messages FROM messages
      GROUP BY from_number ORDER BY messages DESC, from_number LIMIT ?`).all(TOP_SENDERS);
    const endTs = (direction: 'ASC' | 'DESC'): string | null => {
      const order = `ORDER BY instant ${direction}, message_id ${direction}`;
      const row = database.prepare(`SELECT ts FROM messages ${order} LIMIT 1`).get();
      return row === undefined ? null : String(row['ts']);
    };
    return {
      total: Number(totals?.['total']),
      senders: Number(totals?.['senders']),
      topSenders: top.map((row) => ({ from: String(row['from_number']), count: Number(row['messages']) })),
      firstTs: endTs('ASC'),
      lastTs: endTs('DESC'),
    };
  });
}
