import type { Report } from './protocol.ts';

/** The server refused a statement or a login. Its own words are kept apart, as they may quote a value: the message has none of them. */
export class PostgresError extends Error {
  override readonly name = 'PostgresError';
  /** https://www.postgresql.org/docs/current/errcodes-appendix.html */
  readonly sqlstate: string;
  readonly severity: string;
  readonly #serverMessage: string;

  constructor({ sqlstate, severity, message }: Report) {
    super(`PostgreSQL reported ${severity} ${sqlstate}`);
    this.sqlstate = sqlstate;
    this.severity = severity;
    this.#serverMessage = message;
  }

  /** The server itself closes the session after such an error. */
  get isFatal(): boolean {
    return this.severity === 'FATAL' || this.severity === 'PANIC';
  }

  /** The server's primary message, at most 1,000 characters. For a login and for statements without values: others may show up in it. */
  get serverMessage(): string {
    return this.#serverMessage;
  }
}

/** The login cannot succeed before somebody changes something: the message says what, and holds no secret. */
export class LoginRefused extends Error {
  override readonly name = 'LoginRefused';
}

/** The server is there, and not the one to store on. */
export class NotPrimary extends Error {
  override readonly name = 'NotPrimary';
}

/** The connection could not be made, or is lost: it is closed, and never used again. */
export class ConnectionFailed extends Error {
  override readonly name = 'ConnectionFailed';
  /** Whether statements had been sent that the server has neither refused nor finished: what they do may be committed, or may yet be. */
  readonly isOutcomeUnknown: boolean;

  constructor(reason: string, { cause, isOutcomeUnknown = false }: { readonly cause?: unknown; readonly isOutcomeUnknown?: boolean } = {}) {
    super(reason, cause === undefined ? {} : { cause });
    this.isOutcomeUnknown = isOutcomeUnknown;
  }
}

/** https://www.postgresql.org/docs/current/errcodes-appendix.html */
const INVALID_AUTHORIZATION_CLASS = '28';
const INVALID_CATALOG_NAME = '3D000';
const INSUFFICIENT_PRIVILEGE = '42501';

/** Whether a failure of `connect` stays until somebody changes the user, the password, the database or what the server lets in. */
export function isRefusedLogin(error: unknown): boolean {
  if (error instanceof LoginRefused) return true;
  if (!(error instanceof PostgresError) || !error.isFatal) return false;
  return error.sqlstate.startsWith(INVALID_AUTHORIZATION_CLASS) || [INVALID_CATALOG_NAME, INSUFFICIENT_PRIVILEGE].includes(error.sqlstate);
}

/** What a failure means to who asked. */
export type FailureKind =
  /** Nothing is stored, and the same statements may succeed at once: a deadlock, or transactions that cannot be put in order. */
  | 'retry at once'
  /** Nothing is stored; the connection is closed. */
  | 'connection ends'
  /** Stored or not: only a repeat finds out. The connection is closed. */
  | 'outcome unknown'
  | 'disk full'
  /** The server is no primary any more, or has been told to take no writes. The connection is closed. */
  | 'read-only'
  | 'other';

const SERIALIZATION_FAILURE = '40001';
const STATEMENT_COMPLETION_UNKNOWN = '40003';
const DEADLOCK_DETECTED = '40P01';
const TRANSACTION_RESOLUTION_UNKNOWN = '08007';
const DISK_FULL = '53100';
const READ_ONLY_SQL_TRANSACTION = '25006';
const CONNECTION_EXCEPTION_CLASS = '08';
/** admin_shutdown, crash_shutdown, cannot_connect_now, idle_in_transaction_session_timeout. */
const ENDING = ['57P01', '57P02', '57P03', '25P03'];

function kindOfState(sqlstate: string): FailureKind {
  switch (sqlstate) {
    case SERIALIZATION_FAILURE:
    case DEADLOCK_DETECTED: return 'retry at once';
    case STATEMENT_COMPLETION_UNKNOWN:
    case TRANSACTION_RESOLUTION_UNKNOWN: return 'outcome unknown';
    case DISK_FULL: return 'disk full';
    case READ_ONLY_SQL_TRANSACTION: return 'read-only';
    default: return sqlstate.startsWith(CONNECTION_EXCEPTION_CLASS) || ENDING.includes(sqlstate) ? 'connection ends' : 'other';
  }
}

/** What a rejection of `connect` or of `run` means. */
export function kindOf(error: unknown): FailureKind {
  if (error instanceof LoginRefused) return 'connection ends';
  if (error instanceof NotPrimary) return 'read-only';
  if (error instanceof ConnectionFailed) return error.isOutcomeUnknown ? 'outcome unknown' : 'connection ends';
  if (!(error instanceof PostgresError)) return 'other';
  const kind = kindOfState(error.sqlstate);
  return kind === 'other' && error.isFatal ? 'connection ends' : kind;
}

/** Whether a connection is of no use after this error: the server closes it, or is not, or not any more, the one that is looked for. */
export function endsConnection(error: PostgresError): boolean {
  return error.isFatal || ['connection ends', 'outcome unknown', 'read-only'].includes(kindOfState(error.sqlstate));
}
