import { PostgresError } from './failures.ts';
import { ProtocolViolation, type BackendMessage, type Report, type TransactionStatus } from './protocol.ts';

/** By the name of its column; of columns of one name the last. */
export type Row = Readonly<Record<string, string | null>>;

export interface Result {
  /** What was done, in a word: `INSERT`, `SELECT`, `COMMIT`, but `ROLLBACK` for a COMMIT in a failed transaction; empty for nothing. */
  readonly command: string;
  readonly rows: readonly Row[];
  /** How many rows were inserted, changed, removed or selected. */
  readonly affected: number;
}

export type Warning = Pick<Report, 'sqlstate' | 'message'>;

/** What the server has made of a pipeline of statements. */
export interface Answers {
  /** Of the statements that were finished, in their order. */
  readonly results: readonly Result[];
  readonly warnings: readonly Warning[];
  /** Why the others were not; null where all were. */
  readonly error: PostgresError | null;
  readonly status: TransactionStatus;
}

const MAX_RESULT_BYTES = 64 * 1024 * 1024;
/** What a row and a value take at least, so that many empty ones count too. */
const ROW_BYTES = 64;
const VALUE_BYTES = 16;

export interface AnswerReader {
  /**
   * Takes the next message; returns all of the answers with the last. Throws a ProtocolViolation at one that is not due, and a
   * PostgresError where the server closes the connection after it.
   */
  take(message: BackendMessage): Answers | undefined;
  /**
   * Whether what was sent may be committed already, or may yet be, where no more comes. An error that ends the connection does not tell: a
   * pooler sends one when it has lost a server that goes on (pgbouncer: FATAL 08P01, `server conn crashed?`).
   */
  mayBeCommitted(): boolean;
}

/** A statement that was sent. */
export interface Asked {
  /** Whether the server has it already, and does not parse it. */
  readonly isKept: boolean;
  readonly onParsed: () => void;
}

/** The results of statements, each parsed, bound, described and executed, as they come in. Holds 64 MiB of rows at most. */
function createResults(asked: readonly Asked[]) {
  const results: Result[] = [];
  const firstDue = () => (asked[results.length]?.isKept === true ? 'BindComplete' : 'ParseComplete');
  let due: 'ParseComplete' | 'BindComplete' | 'description' | 'rows' = firstDue();
  let columns: readonly string[] = [];
  let rows: Row[] = [];
  let heldBytes = 0;

  function expect(what: typeof due, next: typeof due): void {
    if (due !== what || results.length === asked.length) throw new ProtocolViolation('the server answers out of turn');
    due = next;
  }

  return {
    results,
    parsed(): void {
      expect('ParseComplete', 'BindComplete');
      asked[results.length]?.onParsed();
    },
    bound: () => expect('BindComplete', 'description'),
    described(names: readonly string[]): void {
      expect('description', 'rows');
      columns = names;
    },
    addRow(values: readonly (string | null)[], bytes: number): void {
      expect('rows', 'rows');
      if (values.length !== columns.length) throw new ProtocolViolation('a row of the server does not have its columns');
      heldBytes += bytes + ROW_BYTES + VALUE_BYTES * values.length;
      if (heldBytes > MAX_RESULT_BYTES) throw new ProtocolViolation('the server sends more rows than are taken');
      rows.push(Object.fromEntries(columns.map((name, index) => [name, values[index] ?? null])));
    },
    finished(command: string, affected: number): void {
      expect('rows', 'rows');
      results.push({ command, rows, affected });
      due = firstDue();
      rows = [];
    },
  };
}

/** Reads what comes back for a pipeline of statements and one Sync. */
export function createAnswerReader(asked: readonly Asked[]): AnswerReader {
  const { results, parsed, bound, described, addRow, finished } = createResults(asked);
  const count = asked.length;
  const warnings: Warning[] = [];
  let error: PostgresError | null = null;

  function read(message: BackendMessage): void {
    // After an error nothing is run before the Sync.
    if (error !== null) throw new ProtocolViolation('the server goes on after an error');
    switch (message.type) {
      case 'ParseComplete': return parsed();
      case 'BindComplete': return bound();
      case 'RowDescription': return described(message.columns);
      case 'NoData': return described([]);
      case 'DataRow': return addRow(message.values, message.bytes);
      case 'CommandComplete': return finished(message.command, message.affected);
      case 'EmptyQueryResponse': return finished('', 0);
      case 'ErrorResponse': {
        const refusal = new PostgresError(message.report);
        if (refusal.isFatal) throw refusal;
        error = refusal;
        return;
      }
      default: throw new ProtocolViolation('the server sends a message that was never asked for');
    }
  }

  return {
    take(message) {
      if (message.type === 'NoticeResponse') {
        const { severity, sqlstate, message: text } = message.report;
        if (severity === 'WARNING') warnings.push({ sqlstate, message: text });
        return undefined;
      }
      if (message.type === 'ReadyForQuery') {
        if (error === null && results.length < count) throw new ProtocolViolation('the server leaves statements out');
        return { results, warnings, error, status: message.status };
      }
      read(message);
      return undefined;
    },
    mayBeCommitted: () => error === null || results.some(({ command }) => command === 'COMMIT'),
  };
}
