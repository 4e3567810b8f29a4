/** A server that does not do as PostgreSQL does, over real sockets: whatever it sends, every call settles and the connection is closed. */
import assert from 'node:assert/strict';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { describe, test } from 'node:test';
import { connect, type Connection, type Target } from '../../../src/storage/postgres/connection.ts';
import { ConnectionFailed, LoginRefused, PostgresError } from '../../../src/storage/postgres/failures.ts';
import { fuzz, type Random } from '../../support/random.ts';
import type { Scope } from '../../support/temporary.ts';
import { PATIENCE_MS, waitFor } from '../../support/wait.ts';

const SOON_MS = 100;

function framed(type: string, ...parts: readonly (Buffer | string)[]): Buffer {
  const body = Buffer.concat(parts.map((part) => Buffer.from(part)));
  const head = Buffer.from(`${type}....`);
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}

const authentication = (code: number, data = '') => framed('R', Buffer.of(0, 0, 0, code), data);
const report = (type: 'E' | 'N', severity: string, sqlstate: string) => framed(type, `V${severity}\0C${sqlstate}\0Mwords\0\0`);
const OK = authentication(0);
const UTF8 = framed('S', 'client_encoding\0UTF8\0');
const KEY = framed('K', Buffer.alloc(8, 1));
const READY = framed('Z', 'I');
const FAILED = framed('Z', 'E');
const GREETING = Buffer.concat([OK, UTF8, KEY, READY]);
const PARSED = Buffer.concat([framed('1'), framed('2')]);
const NO_DATA = framed('n');
const COLUMN = framed('T', Buffer.of(0, 1), 'a\0', Buffer.alloc(18));
const ROW = framed('D', Buffer.of(0, 1, 0, 0, 0, 1), 'x');
const DONE = framed('C', 'SELECT 1\0');
const ANSWER = Buffer.concat([PARSED, COLUMN, ROW, DONE]);
const WARNING = report('N', 'WARNING', '01000');
const SETTING = framed('S', 'a\0b\0');
const repeat = (message: Buffer, times: number) => Buffer.concat(Array.from({ length: times }, () => message));

/** What the server does at the next bytes from the client: sends, or closes; after the last it is silent. */
type Step = Buffer | 'close';

interface Liar {
  readonly target: Target;
  /** All that the client has sent. */
  received(): Buffer;
  /** Sends what is not an answer. */
  send(bytes: Buffer): void;
  /** Ends its side in order. */
  hangUp(): void;
  /** Resolves when the client has closed its side. */
  closed(): Promise<unknown>;
}

const startLiar = (scope: Scope, ...steps: readonly Step[]) => startLiarAt('127.0.0.1', scope, ...steps);

async function startLiarAt(address: string, scope: Scope, ...steps: readonly Step[]): Promise<Liar> {
  const due = [...steps];
  const received: Buffer[] = [];
  const sockets: Socket[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket);
    socket.on('error', () => {}).on('data', (chunk: Buffer) => {
      received.push(chunk);
      const step = due.shift();
      if (step === 'close') socket.destroy();
      else if (step !== undefined) socket.write(step);
    });
  }).listen(0, address);
  scope.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  await waitFor('the server', () => server.listening);
  const { port } = server.address() as AddressInfo;
  return {
    target: { host: address, port, tls: null, user: 'user', database: 'database', password: 'the password' },
    received: () => Buffer.concat(received),
    send: (bytes) => {
      for (const socket of sockets) socket.write(bytes);
    },
    hangUp: () => {
      for (const socket of sockets) socket.end();
    },
    closed: () => waitFor('the end of the connection', () => sockets.every((socket) => socket.closed || socket.readableEnded)),
  };
}

const open = ({ target }: Liar, changed: Partial<Target> = {}, timeoutMs = PATIENCE_MS): Promise<Connection> =>
  connect({ ...target, ...changed }, { timeoutMs });
const run = (connection: Connection, count = 1, timeoutMs = PATIENCE_MS) =>
  connection.run(Array.from({ length: count }, () => ({ sql: 'SELECT 1 AS a' })), timeoutMs);

/** Connects, runs one statement, and expects it to fail and the connection to be closed. */
async function expectRefusedRun(scope: Scope, name: string, answer: Step, expected: object, timeoutMs = PATIENCE_MS): Promise<void> {
  const liar = await startLiar(scope, GREETING, answer);
  const connection = await open(liar);
  await assert.rejects(run(connection, 1, timeoutMs), expected, name);
  assert.ok(await connection.closed instanceof ConnectionFailed, name);
  await liar.closed();
}

async function expectRefusedLogin(
  scope: Scope, name: string, steps: readonly Step[], expected: object, changed: Partial<Target> = {}, timeoutMs = PATIENCE_MS,
): Promise<Liar> {
  const liar = await startLiar(scope, ...steps);
  await assert.rejects(open(liar, changed, timeoutMs), expected, name);
  await liar.closed();
  return liar;
}

const TLS = { tls: { ca: null, identity: null } };
const failed = { name: 'ConnectionFailed' };
const unknown = { name: 'ConnectionFailed', isOutcomeUnknown: true };

test('a server that does as it should is believed', async (t) => {
  const liar = await startLiar(t, GREETING, Buffer.concat([ANSWER, ANSWER, READY]), Buffer.concat([WARNING, SETTING, ANSWER, READY]));
  const connection = await open(liar);
  t.after(() => connection.close());
  assert.equal((await run(connection, 2)).results.length, 2);
  const { results, warnings } = await run(connection);
  assert.deepEqual(results, [{ command: 'SELECT', rows: [{ a: 'x' }], affected: 1 }]);
  assert.deepEqual(warnings, [{ sqlstate: '01000', message: 'words' }]);
  assert.equal(connection.parameters.get('a'), 'b');
});

describe('a server that asks for the password', () => {
  const offer = framed('R', Buffer.of(0, 0, 0, 10), 'SCRAM-SHA-256\0\0');
  const first = (message: string) => authentication(11, message);

  test('in clear, by MD5, by GSSAPI or SSPI does not get it', async (t) => {
    for (const code of [2, 3, 5, 6, 7, 8, 9, 13]) {
      const liar = await expectRefusedLogin(t, `code ${code}`, [authentication(code, 'salt')], { name: 'LoginRefused' });
      assert.ok(!liar.received().includes('password'));
    }
  });

  test('leaves SCRAM out after it has begun, or lies in it', async (t) => {
    const wrong = [
      OK, Buffer.concat([OK, GREETING]), authentication(12, 'v=x'), offer, first(''),
      first('r=other,s=QUJD,i=4096'), first('r=other,s=QUJD,i=2000000000'),
    ];
    for (const [index, step] of wrong.entries()) await expectRefusedLogin(t, `lie ${index}`, [offer, step], { name: 'LoginRefused' });
    await expectRefusedLogin(t, 'no mechanism', [framed('R', Buffer.of(0, 0, 0, 10), 'PLAIN\0\0')], { name: 'LoginRefused' });
  });

  test('knows it not, or speaks while the key is derived', async (t) => {
    // Its answer has to begin with what the client drew, so that it is made once that is known.
    const lie = async (answer: (nonce: string) => Buffer, ...later: readonly Buffer[]) => {
      const liar = await startLiar(t, offer);
      const opening = assert.rejects(open(liar), (error) => {
        assert.ok(error instanceof LoginRefused || error instanceof ConnectionFailed, String(error));
        return true;
      });
      const nonce = await waitFor('its nonce', () => /r=([\x21-\x2b\x2d-\x7e]{32})/.exec(liar.received().toString('latin1'))?.[1]);
      const before = liar.received().length;
      liar.send(answer(nonce));
      for (const step of later) {
        await waitFor('its proof', () => liar.received().length > before);
        liar.send(step);
      }
      await opening;
      await liar.closed();
    };
    const good = (nonce: string) => first(`r=${nonce}more,s=QUJD,i=4096`);
    await lie(good, authentication(12, `v=${Buffer.alloc(32).toString('base64')}`));
    await lie(good, GREETING);
    await lie((nonce) => Buffer.concat([good(nonce), GREETING]));
    await lie((nonce) => Buffer.concat([good(nonce), authentication(12, 'v=x')]));
  });
});

describe('a server that is asked for TLS', () => {
  test('and has none, or puts something before it, learns nothing of the user', async (t) => {
    const answers = [
      Buffer.from('N'), Buffer.from('E'), Buffer.from('SS'), Buffer.concat([Buffer.from('S'), GREETING]), report('E', 'FATAL', '53300'),
    ];
    for (const answer of answers) {
      const liar = await expectRefusedLogin(t, answer.toString('latin1'), [answer, GREETING], failed, TLS);
      assert.equal(liar.received().toString('hex'), '0000000804d2162f');
    }
  });

  test('and then speaks something else, closes or is silent, is given up', async (t) => {
    await expectRefusedLogin(t, 'no TLS', [Buffer.from('S'), GREETING], failed, TLS);
    await expectRefusedLogin(t, 'closed', ['close'], failed, TLS);
    await expectRefusedLogin(t, 'closed later', [Buffer.from('S'), 'close'], failed, TLS);
    const inTime = { ...failed, message: /in time/ };
    await expectRefusedLogin(t, 'silent', [], inTime, TLS, SOON_MS);
    await expectRefusedLogin(t, 'silent later', [Buffer.from('S')], inTime, TLS, SOON_MS);
  });
});

describe('a login is given up', () => {
  test('before anything is sent where the server is on another machine and there is no TLS', async (t) => {
    const own = Object.values(networkInterfaces()).flat().find((found) => found?.internal === false && found.family === 'IPv4')?.address;
    if (own === undefined) return t.skip('this machine has no address of its own');
    const liar = await startLiarAt(own, t, GREETING);
    await assert.rejects(open(liar), { ...failed, message: /without TLS/ });
    await liar.closed();
    assert.equal(liar.received().length, 0);
  });

  test('where the server is silent or closes, at every step', async (t) => {
    for (let bytes = 0; bytes < GREETING.length; bytes += 1) {
      const part = GREETING.subarray(0, bytes);
      const liar = await startLiar(t, part);
      const closed = { ...failed, isOutcomeUnknown: false, message: /closed the connection/ };
      const opening = assert.rejects(open(liar), closed, `closed after ${bytes}`);
      await waitFor('the client', () => liar.received().length > 0);
      liar.hangUp();
      await opening;
    }
    await Promise.all([0, 8, 9, 20, GREETING.length - 1].map((bytes) =>
      expectRefusedLogin(t, `silent after ${bytes}`, [GREETING.subarray(0, bytes)], { ...failed, message: /in time/ }, {}, SOON_MS)));
  });

  test('where the server sends what does not belong there, or goes on without end', async (t) => {
    const wrong: Record<string, Buffer> = {
      'ready before it asked': Buffer.concat([UTF8, READY]), 'a key before it asked': KEY, 'twice': Buffer.concat([OK, OK]), 'an answer': ANSWER,
      'in a transaction': Buffer.concat([OK, UTF8, framed('Z', 'T')]),
      'another encoding': Buffer.concat([OK, framed('S', 'client_encoding\0LATIN1\0'), READY]),
      'no encoding': Buffer.concat([OK, READY]), 'another version': framed('v', Buffer.alloc(8)), 'a copy': framed('G', Buffer.alloc(3)),
      'settings': Buffer.concat([OK, repeat(SETTING, 1001)]), 'notices': repeat(WARNING, 1001),
      'HTTP': Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'),
      'settings of many names': Buffer.concat([OK, ...Array.from({ length: 300 }, (_, index) => framed('S', `s${index}\0v\0`))]),
      'its old error': Buffer.from('Ecould not fork new process for connection\n\0'),
    };
    for (const [name, bytes] of Object.entries(wrong)) {
      await expectRefusedLogin(t, name, [bytes], (error: unknown) => error instanceof ConnectionFailed || error instanceof LoginRefused);
    }
  });

  test('where the server refuses it', async (t) => {
    await expectRefusedLogin(t, 'full', [report('E', 'FATAL', '53300')], { name: 'PostgresError', sqlstate: '53300' });
  });
});


describe('a run is given up', () => {
  test('where the server sends what is not due', async (t) => {
    const refused = { ...unknown, message: /server/ };
    const wrong: Record<string, Buffer> = {
      'ready before the answer': READY, 'one answer too many': Buffer.concat([ANSWER, ANSWER, READY]), 'bound before parsed': framed('2'),
      'rows without columns': Buffer.concat([PARSED, ROW]), 'rows for no data': Buffer.concat([PARSED, NO_DATA, ROW]),
      'done without columns': Buffer.concat([PARSED, DONE]),
      'two values for one column': Buffer.concat([PARSED, COLUMN, framed('D', Buffer.of(0, 2), Buffer.alloc(8, 255))]),
      'columns twice': Buffer.concat([PARSED, COLUMN, COLUMN]), 'a login': OK, 'a request for the password': authentication(3), 'a key': KEY,
      'another version': framed('v', Buffer.alloc(8)), 'a copy in': Buffer.concat([PARSED, NO_DATA, framed('G', Buffer.alloc(3))]),
      'a copy out': Buffer.concat([PARSED, NO_DATA, framed('H', Buffer.alloc(3)), framed('d', 'x'), framed('c')]),
      'a great length': Buffer.concat([PARSED, COLUMN, Buffer.from('447fffffff', 'hex')]), 'a negative length': Buffer.from('44ffffffff', 'hex'),
      'notices without end': repeat(WARNING, 1001), 'settings without end': repeat(SETTING, 1001),
      'nonsense': Buffer.from('HTTP/1.1 200 OK\r\n\r\n'),
      'rows without end': Buffer.concat([PARSED, framed('T', Buffer.of(0, 0)), repeat(framed('D', Buffer.of(0, 0)), 1_000_000)]),
    };
    for (const [name, answer] of Object.entries(wrong)) await expectRefusedRun(t, name, answer, refused);
  });

  test('where the server goes on after an error', async (t) => {
    const error = report('E', 'ERROR', '22012');
    for (const [name, later] of Object.entries({ error, 'an answer': PARSED, 'a row': ROW })) {
      await expectRefusedRun(t, name, Buffer.concat([error, later]), { name: 'ConnectionFailed', isOutcomeUnknown: false });
    }
  });

  test('where the server closes, at every byte of its answer', async (t) => {
    const answer = Buffer.concat([ANSWER, READY]);
    for (let bytes = 0; bytes < answer.length; bytes += 1) {
      const liar = await startLiar(t, GREETING, answer.subarray(0, bytes));
      const connection = await open(liar);
      const before = liar.received().length;
      const failing = assert.rejects(run(connection), { ...unknown, message: /closed the connection/ }, `after ${bytes}`);
      await waitFor('the statement', () => liar.received().length > before);
      liar.hangUp();
      await failing;
      await connection.closed;
    }
    await expectRefusedRun(t, 'at once', 'close', unknown);
  });

  test('where the server is silent, at every step of its answer', async (t) => {
    const steps = [
      Buffer.alloc(0), framed('1'), PARSED, Buffer.concat([PARSED, COLUMN]), Buffer.concat([PARSED, COLUMN, ROW]), ANSWER.subarray(0, -1), ANSWER,
    ];
    const inTime = { ...unknown, message: /in time/ };
    await Promise.all(steps.map((step, index) => expectRefusedRun(t, `step ${index}`, step, inTime, SOON_MS)));
    const known = { name: 'ConnectionFailed', isOutcomeUnknown: false };
    await expectRefusedRun(t, 'an error and no end', report('E', 'ERROR', '22012'), known, SOON_MS);
  });

  test('where the server does not roll back: the error stays the one that led there', async (t) => {
    const error = Buffer.concat([report('E', 'ERROR', '22012'), FAILED]);
    const wrong = [undefined, 'close', Buffer.concat([PARSED, NO_DATA, framed('C', 'ROLLBACK\0'), FAILED]), OK] as const;
    for (const answer of wrong) {
      const liar = await startLiar(t, GREETING, error, ...(answer === undefined ? [] : [answer]));
      const connection = await open(liar);
      await assert.rejects(run(connection, 1, answer === undefined ? SOON_MS : PATIENCE_MS), { name: 'PostgresError', sqlstate: '22012' });
      await connection.closed;
      await liar.closed();
    }
  });

  test('where the error ends the connection, and nowhere else', async (t) => {
    for (const sqlstate of ['08006', '08007', '57P01', '57P02', '57P03', '25P03', '25006', '40003']) {
      await expectRefusedRun(t, sqlstate, Buffer.concat([report('E', 'ERROR', sqlstate), READY]), { name: 'PostgresError', sqlstate });
    }
    for (const severity of ['FATAL', 'PANIC']) {
      await expectRefusedRun(t, severity, report('E', severity, '22012'), { ...unknown, message: `PostgreSQL reported ${severity} 22012` });
    }
    const liar = await startLiar(t, GREETING, Buffer.concat([report('E', 'ERROR', '40001'), READY]), Buffer.concat([ANSWER, READY]));
    const connection = await open(liar);
    t.after(() => connection.close());
    await assert.rejects(run(connection), { name: 'PostgresError', sqlstate: '40001' });
    assert.equal((await run(connection)).results.length, 1);
  });

  test('of which the session ends: it may be stored, unless the server has refused it before', async (t) => {
    const done = (command: string) => Buffer.concat([PARSED, NO_DATA, framed('C', `${command}\0`)]);
    const refused = report('E', 'ERROR', '22012');
    const outcome = async (...answers: readonly Buffer[]) => {
      const liar = await startLiar(t, GREETING, Buffer.concat(answers));
      const connection = await open(liar);
      const failing = run(connection, 2).then(() => assert.fail('done'), (error: unknown) => error);
      await waitFor('the statements', () => liar.received().includes('SELECT'));
      liar.hangUp();
      const error = await failing;
      assert.ok(error instanceof ConnectionFailed);
      return error.isOutcomeUnknown;
    };
    assert.equal(await outcome(done('INSERT'), report('E', 'FATAL', '57P01')), true);
    // As pgbouncer does when it has lost the server.
    assert.equal(await outcome(framed('E', 'SFATAL\0C08P01\0Mserver conn crashed?\0\0')), true);
    assert.equal(await outcome(done('INSERT'), refused), false);
    assert.equal(await outcome(done('COMMIT'), refused), true);
  });
});

describe('an idle connection', () => {
  const idle = async (scope: Scope, ...unasked: readonly Buffer[]) => {
    const liar = await startLiar(scope, GREETING, Buffer.concat([ANSWER, READY]));
    const connection = await open(liar);
    for (const bytes of unasked) liar.send(bytes);
    return { liar, connection };
  };

  test('is closed at what nobody asked for', async (t) => {
    const wrong: Record<string, Buffer> = {
      'a login': OK, 'a request for the password': authentication(3), 'ready again': READY, 'an answer': ANSWER, 'a row': ROW,
      'a copy': framed('G', Buffer.alloc(3)), 'an error': report('E', 'ERROR', '22012'), 'its end': report('E', 'FATAL', '57P01'),
      'a great length': Buffer.from('447fffffff', 'hex'), 'notices without end': repeat(WARNING, 1001), 'settings without end': repeat(SETTING, 1001),
      'nonsense': Buffer.from('?'.repeat(9)),
    };
    for (const [name, bytes] of Object.entries(wrong)) {
      const { liar, connection } = await idle(t, bytes);
      assert.ok(await connection.closed instanceof ConnectionFailed, name);
      await assert.rejects(run(connection), { name: 'ConnectionFailed', isOutcomeUnknown: false }, name);
      await liar.closed();
    }
  });

  test('takes settings, notices and notifications, and as many again after each run', async (t) => {
    const { liar, connection } = await idle(t, repeat(WARNING, 900), framed('A', Buffer.alloc(4), 'c\0p\0'), framed('S', 'last\0v\0'));
    await waitFor('the last', () => connection.parameters.get('last') === 'v');
    await run(connection);
    liar.send(Buffer.concat([repeat(WARNING, 900), framed('S', 'last\0w\0')]));
    await waitFor('the last', () => connection.parameters.get('last') === 'w');
    await connection.close();
    await liar.closed();
  });

  test('that is closed waits no longer than a second for a server that does not close', async (t) => {
    const { liar, connection } = await idle(t);
    const closing = connection.close();
    liar.send(repeat(WARNING, 10_000));
    await closing;
    await liar.closed();
    assert.equal(liar.received().subarray(-5).toString('hex'), '5800000004');
  });
});

/** Any message, most of them right, some of them of a wrong length. */
function anyMessage(random: Random): Buffer {
  const message = random.pick([
    OK, UTF8, KEY, READY, FAILED, framed('Z', 'T'), GREETING, framed('v', Buffer.alloc(8)),
    authentication(3), authentication(10, 'SCRAM-SHA-256\0\0'), authentication(11, 'r=a,s=QUJD,i=4096'), authentication(12, 'v=x'),
    framed('1'), framed('2'), NO_DATA, COLUMN, ROW, DONE, framed('C', 'COMMIT\0'), framed('I'), ANSWER, PARSED,
    WARNING, SETTING, report('E', 'ERROR', '22012'), report('E', 'FATAL', '57P01'), framed('A', Buffer.alloc(4), 'c\0p\0'),
    framed('G', Buffer.alloc(3)), framed('d', 'x'), framed('c'),
  ]);
  if (random.below(8) > 0) return message;
  const damaged = Buffer.from(message);
  if (random.below(2) === 0) damaged.writeInt32BE(random.pick([0, -1, 3, 5, 100_000, 2 ** 31 - 1]), 1);
  else damaged.writeUInt8(random.below(256), random.below(damaged.length));
  return damaged;
}

fuzz('whatever a server sends, each call settles in time, and what fails is closed', 100, async (random, scope) => {
  const messages = (count: number) => Buffer.concat(Array.from({ length: random.below(count) }, () => anyMessage(random)));
  const greeting = random.below(4) === 0 ? messages(6) : GREETING;
  const answer = () => (random.below(3) === 0 ? Buffer.concat([ANSWER, READY, messages(3)]) : messages(9));
  const steps: Step[] = [greeting, ...Array.from({ length: 1 + random.below(4) }, answer), ...(random.below(2) === 0 ? ['close' as const] : [])];
  const liar = await startLiar(scope, ...steps);
  const isExpected = (error: unknown) => error instanceof ConnectionFailed || error instanceof PostgresError || error instanceof LoginRefused
    || (error instanceof Error && error.message.includes('leave a transaction open'));
  try {
    const connection = await open(liar, {}, 50);
    for (let count = 0; count < 4; count += 1) {
      await run(connection, 1 + random.below(2), 50).catch((error: unknown) => assert.ok(isExpected(error), String(error)));
    }
    await connection.close();
  } catch (error) {
    assert.ok(isExpected(error), String(error));
  }
  await liar.closed();
});
