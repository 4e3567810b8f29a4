import type { Message } from '../../message.ts';
import { isFiltered, mostLookedAt, type PlacedMessage, toPage, toPart } from '../query.ts';
import { failed, type Read, type ReadAnswer, type ReadJob, type Reader, type ReadReply } from '../reads.ts';
import type { MessageFilter, MessageQuery, Receipt, StoredQuery } from '../storage.ts';
import type { Row } from './answers.ts';
import type { Connection, Statement } from './connection.ts';
import { PostgresError } from './failures.ts';
import { reasonOf } from './reasons.ts';
import {
  countMatching, endOfNext, holds, inSnapshot, listArrivals, listPage, listStored, READ_INBOX, resultsOfReads, TOP, tsAtEnd,
} from './sql.ts';

/** What a reader may still need once the server has given up on a statement. */
const GRACE_MS = 500;
const QUERY_CANCELED = '57014';
const NO_ROW: Row = {};

/** What is asked for a read, and what is made of the rows that come: first that of `inbox`, then those of each statement. */
interface Plan {
  readonly statements: readonly Statement[];
  answer(inbox: Row, rows: readonly (readonly Row[])[]): ReadAnswer;
}

/** Answers reads, one at a time, in the session that `connection` returns; that throws StorageUnavailable where there is none. */
export function createReader(nextJob: () => ReadJob | undefined, connection: () => Connection, isOpen: () => boolean): Reader {
  let isBusy = false;
  let isClosed = false;

  async function answer({ read, deadline }: ReadJob): Promise<ReadReply> {
    const { statements, answer: answerOf } = planOf(read);
    const timeoutMs = Math.max(1, deadline - performance.now());
    try {
      const session = connection();
      const { results } = await session.run(inSnapshot(statements, timeoutMs), timeoutMs + GRACE_MS);
      const inbox = results[READ_INBOX]?.rows[0];
      if (inbox === undefined) return failed('the tables are of another version');
      if (inbox['takes_writes'] !== 't') {
        await session.close();
        return failed('no PostgreSQL server takes writes');
      }
      return answerOf(inbox, resultsOfReads(results).map(({ rows }) => rows));
    } catch (error) {
      if (error instanceof PostgresError && error.sqlstate === QUERY_CANCELED) return failed('a read took too long');
      return failed(reasonOf(error));
    }
  }

  async function work(): Promise<void> {
    isBusy = true;
    for (let job = nextJob(); job !== undefined && !isClosed; job = nextJob()) job.settle(await answer(job));
    isBusy = false;
  }

  return {
    firstOpened: Promise.resolve(),
    isOpen,
    isIdle: () => !isBusy,
    takeNext: () => void work(),
    async close() {
      isClosed = true;
    },
  };
}

function planOf(read: Read): Plan {
  const { kind } = read;
  switch (kind) {
    case 'list': return planOfList(read.query);
    case 'stats': return {
      statements: [TOP, tsAtEnd('ASC'), tsAtEnd('DESC')],
      answer: (inbox, [top = [], first = [], last = []]) => ({
        kind,
        result: {
          total: Number(inbox['messages']), senders: Number(inbox['senders']),
          topSenders: top.map((row) => ({ from: textOf(row, 'from_number'), count: Number(row['messages']) })),
          firstTs: first[0]?.['ts'] ?? null, lastTs: last[0]?.['ts'] ?? null,
        },
      }),
    };
    case 'stored': return planOfStored(read.query);
    case 'newestSequence': return { statements: [], answer: (inbox) => ({ kind, result: textOf(inbox, 'newest') }) };
    case 'holds': return {
      // No name has a NUL, and no parameter may have one.
      statements: read.generation.includes('\0') ? [] : [holds(read.generation, read.sequence)],
      answer: (_, [[row = NO_ROW] = []]) => ({ kind, result: row['holds'] === 't' }),
    };
    case 'arrivals': return {
      statements: [listArrivals(read.sinceMinute)],
      answer: (_, [rows = []]) => ({
        kind, result: rows.map(({ minute, messages }) => ({ minute: Number(minute), count: Number(messages) })),
      }),
    };
    default: return kind satisfies never;
  }
}

/** Nothing that is kept has a NUL, and no parameter may have one. */
const asksForNul = ({ message_id = '', from = '', q = '' }: MessageFilter): boolean => `${message_id}${from}${q}`.includes('\0');

function planOfList(query: MessageQuery): Plan {
  const { since } = query;
  if (asksForNul(query)) {
    return { statements: [], answer: () => ({ kind: 'list', result: { items: [], total: 0, next: null } }) };
  }
  const isAll = !isFiltered(query) && since === undefined;
  return {
    statements: [listPage(query), ...(isAll ? [] : [countMatching(query)])],
    answer: (inbox, [page = [], [count = NO_ROW] = []]) => ({
      kind: 'list',
      result: toPage({ total: Number(isAll ? inbox['messages'] : count['total']), messages: page.map(toPlaced) }, query),
    }),
  };
}

function planOfStored(query: StoredQuery): Plan {
  const { after } = query;
  const most = mostLookedAt(query);
  return {
    statements: [endOfNext(after, most), ...(asksForNul(query) ? [] : [listStored(query, most)])],
    answer: (_, [[end = NO_ROW] = [], rows = []]) => {
      const last = end['last'] ?? null;
      const result = last === null ? { items: [], through: after, isAll: true }
        : toPart(query, rows.map(toStored), { last, count: Number(end['looked_at']) });
      return { kind: 'stored', result };
    },
  };
}

const toStored = (row: Row) => ({ ...toReceipt(row), message: toMessage(row) });

const textOf = (row: Row, column: string): string => row[column] ?? '';

const toMessage = (row: Row): Message => ({
  message_id: textOf(row, 'message_id'), from: textOf(row, 'from_number'), to: textOf(row, 'to_number'), ts: textOf(row, 'ts'),
  text: row['text'] ?? null,
});

function toReceipt(row: Row): Receipt {
  const receivedAt = row['received_at'] ?? null;
  return { sequence: textOf(row, 'id'), receivedAt: receivedAt === null ? null : Number(receivedAt) };
}

const toPlaced = (row: Row): PlacedMessage => ({
  message: toMessage(row), receipt: toReceipt(row), position: { instant: textOf(row, 'instant'), message_id: textOf(row, 'message_id') },
});
