/**
 * PostgreSQL's frontend/backend protocol 3.0 as bytes, https://www.postgresql.org/docs/current/protocol-message-formats.html: makes the
 * messages that a client sends, and reads those that a server sends. Knows no socket, no order of messages and no session.
 */

/** The server sent what the protocol does not allow: the connection is of no use any more. */
export class ProtocolViolation extends Error {
  override readonly name = 'ProtocolViolation';
}

/** Protocol 3.0, and the number that stands in its place to ask for TLS. */
const PROTOCOL_VERSION = 3 << 16;
const SSL_REQUEST_CODE = (1234 << 16) | 5679;
const MAX_PARAMETERS = 0xffff;

const int16 = (value: number) => {
  const bytes = Buffer.allocUnsafe(2);
  bytes.writeUInt16BE(value);
  return bytes;
};
const int32 = (value: number) => {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeInt32BE(value);
  return bytes;
};
const cString = (value: string) => {
  // What follows a NUL would be read as the next field.
  if (value.includes('\0')) throw new TypeError('a NUL cannot be sent to PostgreSQL here');
  return Buffer.from(`${value}\0`);
};
/** The length counts itself, not the type before it. */
const frame = (type: string, ...fields: readonly Buffer[]) => {
  const body = Buffer.concat(fields);
  return Buffer.concat([Buffer.from(type, 'latin1'), int32(body.length + 4), body]);
};

/** Asks for TLS; the answer is a single byte, `S` or `N`. */
export const encodeSslRequest = () => frame('', int32(SSL_REQUEST_CODE));

/** Begins a session. `parameters`: `user`, `database` and settings of the session. Throws a TypeError where one has a NUL. */
export function encodeStartup(parameters: Readonly<Record<string, string>>): Buffer {
  const pairs = Object.entries(parameters).flatMap(([name, value]) => [cString(name), cString(value)]);
  return frame('', int32(PROTOCOL_VERSION), ...pairs, Buffer.of(0));
}

export function encodeSaslInitialResponse(mechanism: string, response: string): Buffer {
  const bytes = Buffer.from(response);
  return frame('p', cString(mechanism), int32(bytes.length), bytes);
}

export const encodeSaslResponse = (response: string) => frame('p', Buffer.from(response));

/** Into the unnamed statement; the types of its parameters are inferred. Throws a TypeError where the SQL has a NUL. */
export const encodeParse = (sql: string, name = '') => frame('P', cString(name), cString(sql), int16(0));

/** Binds parameters of a statement, all as text, as are the columns that it returns. Throws a RangeError above 65,535 of them. */
export function encodeBind(parameters: readonly (string | null)[], name = ''): Buffer {
  if (parameters.length > MAX_PARAMETERS) throw new RangeError(`at most ${MAX_PARAMETERS} parameters`);
  const values = parameters.flatMap((parameter) => {
    if (parameter === null) return [int32(-1)];
    const bytes = Buffer.from(parameter);
    return [int32(bytes.length), bytes];
  });
  return frame('B', cString(''), cString(name), int16(0), int16(parameters.length), ...values, int16(0));
}

/** Asks for the columns of the unnamed portal. */
export const encodeDescribe = () => frame('D', Buffer.from('P'), cString(''));
/** Runs the unnamed portal to its end. */
export const encodeExecute = () => frame('E', cString(''), int32(0));
export const encodeSync = () => frame('S');
export const encodeTerminate = () => frame('X');

/** `I` idle, `T` in a transaction, `E` in a transaction that failed. */
export type TransactionStatus = 'I' | 'T' | 'E';

/** The fields of an error or a notice that are kept: all others may hold values of rows. */
export interface Report {
  /** Never translated: `ERROR`, `FATAL`, `PANIC`, `WARNING`, `NOTICE`, `DEBUG`, `INFO` or `LOG`. */
  readonly severity: string;
  /** https://www.postgresql.org/docs/current/errcodes-appendix.html */
  readonly sqlstate: string;
  readonly message: string;
}

export type BackendMessage =
  | { readonly type: 'AuthenticationOk' }
  | { readonly type: 'AuthenticationSASL'; readonly mechanisms: readonly string[] }
  | { readonly type: 'AuthenticationSASLContinue' | 'AuthenticationSASLFinal'; readonly data: string }
  | { readonly type: 'AuthenticationOther'; readonly code: number }
  | { readonly type: 'ParameterStatus'; readonly name: string; readonly value: string }
  | { readonly type: 'BackendKeyData'; readonly processId: number }
  | { readonly type: 'ReadyForQuery'; readonly status: TransactionStatus }
  | { readonly type: 'RowDescription'; readonly columns: readonly string[] }
  /** `bytes`: of the whole message. */
  | { readonly type: 'DataRow'; readonly values: readonly (string | null)[]; readonly bytes: number }
  /** `command` is the tag's first word, `affected` its count of rows, 0 where it has none. */
  | { readonly type: 'CommandComplete'; readonly command: string; readonly affected: number }
  | { readonly type: 'ErrorResponse' | 'NoticeResponse'; readonly report: Report }
  | { readonly type: 'NotificationResponse'; readonly channel: string; readonly payload: string }
  | { readonly type: 'NegotiateProtocolVersion' | 'Copy' }
  | { readonly type: 'ParseComplete' | 'BindComplete' | 'NoData' | 'EmptyQueryResponse' };

const KIB = 1024;
/** Most bytes of a message after its type, by type: a row is the page that a reader gets, a report may quote a statement. */
const MAX_LENGTHS = new Map([
  ['R', 8 * KIB], ['S', 8 * KIB], ['K', 12], ['Z', 5], ['v', 8 * KIB], ['E', KIB * KIB], ['N', 64 * KIB], ['A', 16 * KIB],
  ['1', 4], ['2', 4], ['n', 4], ['I', 4], ['T', 256 * KIB], ['D', 16 * KIB * KIB], ['C', KIB],
  ['G', 8 * KIB], ['H', 8 * KIB], ['W', 8 * KIB], ['d', 64 * KIB], ['c', 4],
]);
const HEADER_BYTES = 5;
/** Of a server's message, which may quote what it refuses. */
const MAX_REPORT_CHARACTERS = 1000;

const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
function text(bytes: Buffer): string {
  try {
    return strict.decode(bytes);
  } catch {
    throw new ProtocolViolation('a text of the server is not UTF-8');
  }
}

/** Reads fields one after the other. Each throws a ProtocolViolation where the message is too short for it. */
function createFields(body: Buffer) {
  let at = 0;
  const bytes = (count: number): Buffer => {
    if (count < 0 || count > body.length - at) throw new ProtocolViolation('a field of the server is longer than its message');
    at += count;
    return body.subarray(at - count, at);
  };
  const byte = () => bytes(1).readUInt8();
  const short = () => bytes(2).readUInt16BE();
  const int = () => bytes(4).readInt32BE();
  return {
    bytes, byte, short, int,
    rest: () => bytes(body.length - at),
    isAtEnd: () => at === body.length,
    /** Up to the next NUL. */
    cBytes: (): Buffer => {
      const end = body.indexOf(0, at);
      if (end === -1) throw new ProtocolViolation('a text of the server does not end');
      return bytes(end - at + 1).subarray(0, -1);
    },
  };
}
type Fields = ReturnType<typeof createFields>;

function readAuthentication(fields: Fields): BackendMessage {
  const code = fields.int();
  switch (code) {
    case 0: return { type: 'AuthenticationOk' };
    case 10: {
      const mechanisms: string[] = [];
      for (let name = text(fields.cBytes()); name !== ''; name = text(fields.cBytes())) mechanisms.push(name);
      return { type: 'AuthenticationSASL', mechanisms };
    }
    case 11: return { type: 'AuthenticationSASLContinue', data: text(fields.rest()) };
    case 12: return { type: 'AuthenticationSASLFinal', data: text(fields.rest()) };
    default:
      fields.rest();
      return { type: 'AuthenticationOther', code };
  }
}

function readStatus(fields: Fields): BackendMessage {
  const status = String.fromCharCode(fields.byte());
  if (status !== 'I' && status !== 'T' && status !== 'E') throw new ProtocolViolation('the server is in a state that there is not');
  return { type: 'ReadyForQuery', status };
}

function readColumns(fields: Fields): BackendMessage {
  const columns = Array.from({ length: fields.short() }, () => {
    const name = text(fields.cBytes());
    // Table, column, type, its size and modifier.
    fields.bytes(16);
    if (fields.short() !== 0) throw new ProtocolViolation('the server sends a column in binary');
    return name;
  });
  return { type: 'RowDescription', columns };
}

function readRow(fields: Fields, length: number): BackendMessage {
  const values = Array.from({ length: fields.short() }, () => {
    const size = fields.int();
    return size === -1 ? null : text(fields.bytes(size));
  });
  return { type: 'DataRow', values, bytes: length };
}

function readCommand(fields: Fields): BackendMessage {
  const words = text(fields.cBytes()).split(' ');
  const count = words.length > 1 ? words.at(-1) ?? '' : '';
  return { type: 'CommandComplete', command: words[0] ?? '', affected: /^\d{1,15}$/.test(count) ? Number(count) : 0 };
}

/** In the server's own encoding before the session has one, so that not every byte need be UTF-8. */
function readReport(fields: Fields): Report {
  const found = new Map<string, string>();
  for (let field = fields.byte(); field !== 0; field = fields.byte()) {
    const value = fields.cBytes();
    if ('SVCM'.includes(String.fromCharCode(field))) found.set(String.fromCharCode(field), value.toString());
  }
  const sqlstate = found.get('C') ?? '';
  // pgbouncer sends no V, and translates nothing.
  const severity = found.get('V') ?? found.get('S') ?? '';
  if (!/^[0-9A-Z]{5}$/.test(sqlstate) || !/^[A-Z]{3,9}$/.test(severity)) throw new ProtocolViolation('a report of the server has no code');
  return { severity, sqlstate, message: (found.get('M') ?? '').slice(0, MAX_REPORT_CHARACTERS) };
}

function readFields(type: string, fields: Fields, length: number): BackendMessage {
  switch (type) {
    case 'R': return readAuthentication(fields);
    case 'S': return { type: 'ParameterStatus', name: text(fields.cBytes()), value: text(fields.cBytes()) };
    case 'K': {
      const processId = fields.int();
      // For a CancelRequest, which is never sent: it would cut a wait for a standby short.
      fields.bytes(4);
      return { type: 'BackendKeyData', processId };
    }
    case 'Z': return readStatus(fields);
    case 'T': return readColumns(fields);
    case 'D': return readRow(fields, length);
    case 'C': return readCommand(fields);
    case 'E': return { type: 'ErrorResponse', report: readReport(fields) };
    case 'N': return { type: 'NoticeResponse', report: readReport(fields) };
    case 'A':
      fields.int();
      return { type: 'NotificationResponse', channel: text(fields.cBytes()), payload: text(fields.cBytes()) };
    case '1': return { type: 'ParseComplete' };
    case '2': return { type: 'BindComplete' };
    case 'n': return { type: 'NoData' };
    case 'I': return { type: 'EmptyQueryResponse' };
    // These two are never asked for, so that what they say is of no interest.
    case 'v':
      fields.rest();
      return { type: 'NegotiateProtocolVersion' };
    default:
      fields.rest();
      return { type: 'Copy' };
  }
}

/** The size of the message that begins here, its type included; that of its header where not even this is complete. */
function sizeOf(bytes: Buffer): number {
  if (bytes.length < HEADER_BYTES) return HEADER_BYTES;
  const length = bytes.readInt32BE(1);
  const max = MAX_LENGTHS.get(String.fromCharCode(bytes.readUInt8()));
  if (max === undefined) throw new ProtocolViolation('the server sends a message that was never asked for');
  if (length < 4 || length > max) throw new ProtocolViolation('the server announces a message of a length that it cannot have');
  return 1 + length;
}

function readMessage(bytes: Buffer): BackendMessage {
  const fields = createFields(bytes.subarray(HEADER_BYTES));
  const message = readFields(String.fromCharCode(bytes.readUInt8()), fields, bytes.length);
  if (!fields.isAtEnd()) throw new ProtocolViolation('a message of the server is longer than its fields');
  return message;
}

/**
 * A reader of what a server sends, cut anywhere: each call takes the next bytes and yields the messages that they complete. Holds no more
 * than one message, 16 MiB at most. Throws a ProtocolViolation at the first byte that cannot be right, after what came before it.
 */
export function createDecoder(): (chunk: Buffer) => Generator<BackendMessage, void, undefined> {
  /** A message that has begun: as long as all of it once its length is known, so that many small chunks take no more. */
  let partial = Buffer.alloc(0);
  let filled = 0;

  return function* decode(chunk) {
    let at = 0;
    while (at < chunk.length) {
      if (filled === 0) {
        const size = sizeOf(chunk.subarray(at));
        if (size <= chunk.length - at) {
          at += size;
          yield readMessage(chunk.subarray(at - size, at));
          continue;
        }
        partial = Buffer.alloc(size);
      }
      const copied = chunk.copy(partial, filled, at, Math.min(chunk.length, at + partial.length - filled));
      filled += copied;
      at += copied;
      if (filled < partial.length) return;
      const size = sizeOf(partial);
      if (size > partial.length) partial = Buffer.concat([partial], size);
      else {
        filled = 0;
        yield readMessage(partial);
      }
    }
  };
}
