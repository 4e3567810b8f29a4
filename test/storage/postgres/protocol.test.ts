import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  createDecoder, encodeBind, encodeDescribe, encodeExecute, encodeParse, encodeSaslInitialResponse, encodeSaslResponse, encodeSslRequest,
  encodeStartup, encodeSync, encodeTerminate, ProtocolViolation, type BackendMessage,
} from '../../../src/storage/postgres/protocol.ts';
import { fuzz } from '../../support/random.ts';
import { CLIENT_BYTES, SCRAM_EXCHANGE, SERVER_BYTES } from './recorded.ts';

/** What comes of bytes that arrive in these pieces. */
function decodeAll(...chunks: readonly Buffer[]): BackendMessage[] {
  const decode = createDecoder();
  return chunks.flatMap((chunk) => [...decode(chunk)]);
}

/** A message of the server with a right length. */
function framed(type: string, body: Buffer | string): Buffer {
  const bytes = Buffer.from(body);
  const head = Buffer.from(`${type}....`);
  head.writeInt32BE(bytes.length + 4, 1);
  return Buffer.concat([head, bytes]);
}

function piecesOf(bytes: Buffer, size: number): Buffer[] {
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) => bytes.subarray(index * size, (index + 1) * size));
}

/** The recorded messages, each with its type and its body. */
function recordedFrames(): { type: string; body: Buffer }[] {
  const frames: { type: string; body: Buffer }[] = [];
  for (let at = 0; at < SERVER_BYTES.length;) {
    const end = at + 1 + SERVER_BYTES.readInt32BE(at + 1);
    frames.push({ type: SERVER_BYTES.toString('latin1', at, at + 1), body: SERVER_BYTES.subarray(at + 5, end) });
    at = end;
  }
  return frames;
}

describe('a client\'s messages', () => {
  test('are those that were recorded', () => {
    const statement = (sql: string, parameters: (string | null)[] = []) =>
      [encodeParse(sql), encodeBind(parameters), encodeDescribe(), encodeExecute()];
    const made = Buffer.concat([
      encodeStartup({ user: 'postgres', database: 'postgres', client_encoding: 'UTF8', application_name: 'webhook-inbox' }),
      encodeSaslInitialResponse('SCRAM-SHA-256', SCRAM_EXCHANGE.clientFirst), encodeSaslResponse(SCRAM_EXCHANGE.clientFinal),
      ...statement('CREATE TEMPORARY TABLE kept (id integer PRIMARY KEY, text text)'),
      ...statement('INSERT INTO kept VALUES ($1, $2), (2, NULL)', ['1', 'grüße']),
      ...statement('SELECT id, text FROM kept ORDER BY id'), ...statement(''), encodeSync(),
      ...statement('SELECT 1'), ...statement('SELECT 1 / 0'), ...statement('SELECT 2'), encodeSync(),
      ...statement('ROLLBACK'), encodeSync(),
      ...statement('LISTEN stored'), ...statement('NOTIFY stored, \'seven\''), encodeSync(),
      encodeTerminate(),
    ]);
    assert.equal(made.toString('latin1'), CLIENT_BYTES.toString('latin1'));
  });

  test('ask for TLS by the number that PostgreSQL documents', () => {
    assert.equal(encodeSslRequest().toString('hex'), '0000000804d2162f');
  });

  test('tell a NULL from an empty text', () => {
    assert.equal(encodeBind([null, '']).toString('hex'), `42${'00000014'}${'0000'}${'0000'}${'0002'}${'ffffffff'}${'00000000'}${'0000'}`);
  });

  test('have no NUL where it would begin another field, and no more parameters than can be counted', () => {
    assert.throws(() => encodeParse('SELECT 1\0'), TypeError);
    assert.throws(() => encodeStartup({ user: 'a\0database\0b' }), TypeError);
    assert.equal(encodeBind(Array.from({ length: 65_535 }, () => null)).readUInt16BE(9), 65_535);
    assert.throws(() => encodeBind(Array.from({ length: 65_536 }, () => null)), RangeError);
  });
});

describe('a recorded session', () => {
  const whole = decodeAll(SERVER_BYTES);

  test('is read as what it was', () => {
    const types = whole.map(({ type }) => type);
    assert.deepEqual(types.slice(0, 5), [
      'AuthenticationSASL', 'AuthenticationSASLContinue', 'AuthenticationSASLFinal', 'AuthenticationOk', 'ParameterStatus',
    ]);
    assert.deepEqual(whole.slice(0, 3), [
      { type: 'AuthenticationSASL', mechanisms: ['SCRAM-SHA-256'] },
      { type: 'AuthenticationSASLContinue', data: SCRAM_EXCHANGE.serverFirst },
      { type: 'AuthenticationSASLFinal', data: SCRAM_EXCHANGE.serverFinal },
    ]);
    const key = types.indexOf('BackendKeyData');
    assert.deepEqual(whole.slice(key - 1), [
      { type: 'ParameterStatus', name: 'TimeZone', value: 'GMT' },
      { type: 'BackendKeyData', processId: 0x4d30 },
      { type: 'ReadyForQuery', status: 'I' },
      { type: 'ParseComplete' }, { type: 'BindComplete' }, { type: 'NoData' }, { type: 'CommandComplete', command: 'CREATE', affected: 0 },
      { type: 'ParseComplete' }, { type: 'BindComplete' }, { type: 'NoData' }, { type: 'CommandComplete', command: 'INSERT', affected: 2 },
      { type: 'ParseComplete' }, { type: 'BindComplete' }, { type: 'RowDescription', columns: ['id', 'text'] },
      { type: 'DataRow', values: ['1', 'grüße'], bytes: 23 }, { type: 'DataRow', values: ['2', null], bytes: 16 },
      { type: 'CommandComplete', command: 'SELECT', affected: 2 },
      { type: 'ParseComplete' }, { type: 'BindComplete' }, { type: 'NoData' }, { type: 'EmptyQueryResponse' },
      { type: 'ReadyForQuery', status: 'I' },
      { type: 'ParseComplete' }, { type: 'BindComplete' }, { type: 'RowDescription', columns: ['?column?'] },
      { type: 'DataRow', values: ['1'], bytes: 12 }, { type: 'CommandComplete', command: 'SELECT', affected: 1 },
      { type: 'ParseComplete' }, { type: 'ErrorResponse', report: { severity: 'ERROR', sqlstate: '22012', message: 'division by zero' } },
      { type: 'ReadyForQuery', status: 'I' },
      { type: 'ParseComplete' }, { type: 'BindComplete' }, { type: 'NoData' },
      { type: 'NoticeResponse', report: { severity: 'WARNING', sqlstate: '25P01', message: 'there is no transaction in progress' } },
      { type: 'CommandComplete', command: 'ROLLBACK', affected: 0 },
      { type: 'ReadyForQuery', status: 'I' },
      { type: 'ParseComplete' }, { type: 'BindComplete' }, { type: 'NoData' }, { type: 'CommandComplete', command: 'LISTEN', affected: 0 },
      { type: 'ParseComplete' }, { type: 'BindComplete' }, { type: 'NoData' }, { type: 'CommandComplete', command: 'NOTIFY', affected: 0 },
      { type: 'NotificationResponse', channel: 'stored', payload: 'seven' },
      { type: 'ReadyForQuery', status: 'I' },
    ]);
  });

  test('is the same cut in two at every position', () => {
    for (let cut = 0; cut <= SERVER_BYTES.length; cut += 1) {
      assert.deepEqual(decodeAll(SERVER_BYTES.subarray(0, cut), SERVER_BYTES.subarray(cut)), whole, `cut at ${cut}`);
    }
  });

  test('is the same in pieces of every size', () => {
    for (let size = 1; size <= 64; size += 1) {
      assert.deepEqual(decodeAll(...piecesOf(SERVER_BYTES, size)), whole, `pieces of ${size}`);
    }
  });

  test('has no message that could be a byte shorter or longer', () => {
    // A text of SCRAM goes to the end of its message, however far that is.
    for (const { type, body } of recordedFrames().filter((frame) => frame.type !== 'R')) {
      assert.throws(() => decodeAll(framed(type, Buffer.concat([body, Buffer.of(0)]))), ProtocolViolation, `${type} and a byte`);
      if (body.length > 0) assert.throws(() => decodeAll(framed(type, body.subarray(0, -1))), ProtocolViolation, `${type} less a byte`);
    }
  });

  fuzz('damaged anywhere, is read or refused, and nothing else', 3000, (random) => {
    const bytes = Buffer.from(SERVER_BYTES);
    for (let count = 0; count <= random.below(4); count += 1) bytes.writeUInt8(random.below(256), random.below(bytes.length));
    const cut = random.below(bytes.length);
    try {
      decodeAll(bytes.subarray(0, cut), bytes.subarray(cut));
    } catch (error) {
      assert.ok(error instanceof ProtocolViolation, String(error));
    }
  });
});

describe('a server\'s message is refused', () => {
  const header = (type: string, length: number) => {
    const bytes = Buffer.from(`${type}....`);
    bytes.writeInt32BE(length, 1);
    return bytes;
  };

  test('by its length alone, before any of it is kept', () => {
    const most = {
      R: 8192, S: 8192, K: 12, Z: 5, T: 262_144, D: 16_777_216, C: 1024, E: 1_048_576, N: 65_536, A: 16_384, v: 8192, 1: 4, 2: 4, n: 4, I: 4,
    };
    for (const [type, max] of Object.entries(most)) {
      assert.deepEqual(max === 4 ? [] : decodeAll(header(type, max)), [], `${type} of ${max}`);
      for (const length of [max + 1, 2 ** 31 - 1, -1, -(2 ** 31), 0, 3]) {
        assert.throws(() => decodeAll(header(type, length)), ProtocolViolation, `${type} of ${length}`);
        assert.throws(() => decodeAll(...piecesOf(header(type, length), 1)), ProtocolViolation, `${type} of ${length} in bytes`);
      }
    }
  });

  test('of a type that there is not, or that answers what is never sent', () => {
    for (const type of ['\0', 'a', 'Q', 'V', 's', 't', '3', '\x7f']) {
      assert.throws(() => decodeAll(header(type, 4)), ProtocolViolation, type);
    }
  });

  test('that counts more fields than it has, or tells a length beyond its end', () => {
    const values = (hex: string) => Buffer.from(hex, 'hex');
    assert.deepEqual(decodeAll(framed('D', values('0001ffffffff'))), [{ type: 'DataRow', values: [null], bytes: 11 }]);
    for (const hex of ['ffff', '0002ffffffff', '0000ffffffff', '000100000002aa', '0001fffffffe', '00017fffffff', '0001', '00']) {
      assert.throws(() => decodeAll(framed('D', values(hex))), ProtocolViolation, hex);
    }
    assert.throws(() => decodeAll(framed('T', values('ffff'))), ProtocolViolation);
    assert.throws(() => decodeAll(framed('T', Buffer.concat([values('0001'), Buffer.from('a\0'), Buffer.alloc(17)]))), ProtocolViolation);
    assert.throws(() => decodeAll(framed('R', Buffer.concat([values('0000000a'), Buffer.from('SCRAM-SHA-256\0')]))), ProtocolViolation);
  });

  test('with a column in binary, a text that is not UTF-8 or a state that there is not', () => {
    const column = (format: number) =>
      framed('T', Buffer.concat([Buffer.of(0, 1), Buffer.from('a\0'), Buffer.alloc(16), Buffer.of(0, format)]));
    assert.deepEqual(decodeAll(column(0)), [{ type: 'RowDescription', columns: ['a'] }]);
    assert.throws(() => decodeAll(column(1)), ProtocolViolation);
    assert.throws(() => decodeAll(framed('D', Buffer.of(0, 1, 0, 0, 0, 1, 0xff))), ProtocolViolation);
    assert.throws(() => decodeAll(framed('S', Buffer.from('a\0\xff\0', 'latin1'))), ProtocolViolation);
    assert.throws(() => decodeAll(framed('Z', 'X')), ProtocolViolation);
  });

  test('after those that came before it in the same piece', () => {
    const seen: string[] = [];
    assert.throws(() => {
      for (const { type } of createDecoder()(Buffer.concat([framed('Z', 'T'), framed('1', ''), framed('x', '')]))) seen.push(type);
    }, ProtocolViolation);
    assert.deepEqual(seen, ['ReadyForQuery', 'ParseComplete']);
  });
});

describe('a server\'s message keeps', () => {
  const textOf = (value: string) => {
    const bytes = Buffer.from(value);
    const [message] = decodeAll(framed('D', Buffer.concat([Buffer.of(0, 1, 0, 0, 0, bytes.length), bytes])));
    return message?.type === 'DataRow' ? message.values : undefined;
  };

  test('every character of a text, a byte order mark too', () => {
    for (const value of ['', '\ufeffa', '😀 é\u0301', '\r\n\u2028']) assert.deepEqual(textOf(value), [value]);
  });

  test('a row of the greatest size, come in small pieces', () => {
    const size = 16 * 1024 * 1024 - 4 - 6;
    const body = Buffer.alloc(6 + size, 'a');
    body.writeUInt16BE(1);
    body.writeInt32BE(size, 2);
    const row = framed('D', body);
    const [message, ...others] = decodeAll(...piecesOf(row, 1000));
    assert.equal(others.length, 0);
    assert.deepEqual(message?.type === 'DataRow' && message.values.map((value) => value?.length), [size]);
  });

  test('of a command its first word and its count', () => {
    const read = (tag: string) => decodeAll(framed('C', `${tag}\0`))
      .map((message) => message.type === 'CommandComplete' && [message.command, message.affected]);
    const expected = {
      'INSERT 0 12': ['INSERT', 12], 'UPDATE 3': ['UPDATE', 3], COMMIT: ['COMMIT', 0], 'CREATE TABLE': ['CREATE', 0], '': ['', 0],
    };
    for (const [tag, found] of Object.entries(expected)) assert.deepEqual(read(tag), [found], tag);
  });

  test('of a report no field but severity, code and message, and of that 1,000 characters', () => {
    const read = (...fields: string[]) => decodeAll(framed('E', `${fields.map((field) => `${field}\0`).join('')}\0`))
      .map((message) => message.type === 'ErrorResponse' && message.report);
    const row = 'Failing row contains (secret).';
    assert.deepEqual(read('SFEHLER', 'VERROR', 'C23502', 'Mnull value', `D${row}`, `H${row}`, `W${row}`, `q${row}`), [
      { severity: 'ERROR', sqlstate: '23502', message: 'null value' },
    ]);
    const cut = { severity: 'FATAL', sqlstate: '08P01', message: 'm'.repeat(1000) };
    assert.deepEqual(read('SFATAL', 'C08P01', `M${'m'.repeat(2000)}`), [cut]);
    assert.throws(() => read('VERROR', 'Mno code'), ProtocolViolation);
    assert.throws(() => read('VERROR', 'C2350\n'), ProtocolViolation);
    assert.throws(() => read('C23502', 'Mno severity'), ProtocolViolation);
  });
});
