/** Random input from a seed that is printed: whatever comes, the parsers keep their promises and the service stands. */
import assert from 'node:assert/strict';
import { after, describe } from 'node:test';
import { readHead } from '../src/http/request-head.ts';
import { createRouter, UNMATCHED } from '../src/http/router.ts';
import { instantOf, validateMessage } from '../src/message.ts';
import { readMessageQuery } from '../src/query/parameters.ts';
import { startTestApp } from './support/app.ts';
import { message, SECRET, sign } from './support/messages.ts';
import { fuzz, type Random } from './support/random.ts';
import { connectRaw, statusesIn } from './support/raw-http.ts';
import { keysOf, verdictOf } from './support/signatures.ts';

const app = await startTestApp({ after });
const impatient = await startTestApp({ after }, { HEADER_TIMEOUT_MS: '500', REQUEST_TIMEOUT_MS: '1000' });

const anyCharacter = (random: Random) => () => random.pick([
  () => String.fromCharCode(random.below(128)), () => String.fromCodePoint(random.below(0x110000)),
  () => String.fromCharCode(0xd800 + random.below(0x800)), () => random.pick(['%', '%2', '%ff', '&', '=', '+', '?', '/', '\0', ' ', ':']),
])();

describe('fuzz', () => {
  const router = createRouter([{ method: 'GET', path: '/stats', handler: () => ({ status: 200, headers: {}, body: '' }) }]);

  fuzz('a target is refused or split without loss, and never names a route that is not there', 5000, (random) => {
    const url = random.pick(['', '/', '//', 'http://a', '/stats', '*']) + random.text(20, anyCharacter(random));
    const head = readHead({ url, httpVersion: '1.1', rawHeaders: ['Host', 'a'] });
    if (!head.valid) return;
    const { path, query } = head.target;
    assert.ok(path.startsWith('/') && !path.includes('?'));
    assert.ok(url.endsWith(query));
    assert.equal(router('GET', path).route, path === '/stats' ? '/stats' : UNMATCHED);
  });

  fuzz('a query is malformed, refused, or within its bounds', 5000, (random) => {
    // A target with any other byte is refused before its query is looked at.
    const visible = () => random.pick([String.fromCharCode(0x21 + random.below(94)), `%${random.below(256).toString(16).padStart(2, '0')}`]);
    const name = () => random.pick(['limit', 'offset', 'from', 'since', 'q', random.text(3, visible)]);
    const value = () => random.pick([String(random.below(200) - 50), random.text(10, visible), '2025-01-15T10:00:00Z', '']);
    const text = Array.from({ length: random.below(5) }, () => `${name()}=${value()}`).join('&');
    const reading = readMessageQuery(text);
    if (reading.kind === 'invalid') assert.ok(reading.faults.length > 0 && reading.faults.every(({ loc }) => loc[0] === 'query'));
    if (reading.kind !== 'valid') return;
    const { limit, offset, from, since, q } = reading.query;
    assert.ok(limit >= 1 && limit <= 100 && offset >= 0 && Number.isSafeInteger(offset));
    assert.ok(from !== '' && q !== '' && (since === undefined || instantOf(`${since}Z`) === since));
    assert.ok([from, q].every((given) => given === undefined || given.isWellFormed()));
  });

  fuzz('a signature holds only where it is the digits', 5000, (random) => {
    const keys = keysOf(SECRET);
    const body = Buffer.from(random.text(50, anyCharacter(random)));
    const right = sign(body);
    const at = random.below(right.length + 1);
    const mutated = right.slice(0, at) + random.text(2, anyCharacter(random)) + right.slice(at + random.below(3));
    const expected = /^(?:sha256=)?([0-9a-f]{64})$/i.exec(mutated)?.[1]?.toLowerCase() === right;
    assert.equal(verdictOf([['X-Signature', mutated]], body, keys) === 'current', expected, JSON.stringify(mutated));
    assert.equal(verdictOf([['X-Signature', right]], body, keys), 'current');
  });

  fuzz('a payload is refused, or kept to the letter', 5000, (random) => {
    const wild = (): unknown => random.pick<() => unknown>([
      () => random.text(8, anyCharacter(random)), () => random.below(100), () => null, () => true, () => [wild()], () => ({ a: wild() }), () => undefined,
    ])();
    const fields: [keyof ReturnType<typeof message>, ...(keyof ReturnType<typeof message>)[]] = ['message_id', 'from', 'to', 'ts', 'text'];
    const input: Record<string, unknown> = { ...message(), [random.pick(fields)]: wild(), [random.text(3, anyCharacter(random))]: wild() };
    const validation = validateMessage(input);
    if (!validation.valid) {
      assert.ok(validation.faults.length > 0);
      return;
    }
    for (const field of fields) assert.equal(validation.message[field], input[field] ?? null);
    const stored = Buffer.from(JSON.stringify(validation.message));
    assert.deepEqual(JSON.parse(stored.toString()), validation.message);
  });

  fuzz('signed JSON of any kind is 200 or 422, and a 200 is listed as it was sent', 150, async (random) => {
    const text = random.text(20, anyCharacter(random)).toWellFormed().replaceAll('\0', '');
    const message_id = `fuzz ${random.below(2 ** 31)} ${random.text(10, () => String.fromCodePoint(0xa0 + random.below(0x700)))}`;
    const sent = message({ message_id, text });
    const body = JSON.stringify(sent);
    const broken = random.below(2) === 0;
    const at = random.below(body.length);
    const bytes = broken ? body.slice(0, at) + random.text(3, anyCharacter(random)) + body.slice(at + random.below(4)) : body;
    const { status } = await app.post(Buffer.from(bytes));
    assert.ok(status === 200 || (broken && status === 422), `${status} for ${JSON.stringify(bytes)}`);
    if (broken) return;
    const listing: { items: unknown[] } = JSON.parse(await (await app.get(`/messages?q=${encodeURIComponent(text)}&limit=100`)).text());
    assert.ok(text === '' || listing.items.some((item) => JSON.stringify(item) === body), JSON.stringify(bytes));
  });

  fuzz('any bytes on a socket get well-formed answers or a closed connection, one a request at most', 150, async (random, scope) => {
    const requests = 1 + random.below(3);
    const pieces = Array.from({ length: requests }, () => random.pick([
      'GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n', 'GET /messages?q=%ff HTTP/1.1\r\nHost: a\r\n\r\n',
      'POST /webhook HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}', 'POST /webhook HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n',
    ]));
    const whole = pieces.join('');
    const at = random.below(whole.length);
    const mutated = whole.slice(0, at) + random.text(3, () => String.fromCharCode(random.below(256))) + whole.slice(at + random.below(4));
    const connection = connectRaw(scope, impatient.port);
    connection.write(Buffer.from(mutated, 'latin1'));
    connection.socket.end();
    const answer = await connection.closed();
    const statuses = statusesIn(answer);
    // A mutation can turn one request into two, never more.
    assert.ok(statuses.length <= requests + 1, `${statuses.join()} for ${JSON.stringify(mutated)}`);
    assert.ok(answer === '' || answer.startsWith('HTTP/1.1 '), JSON.stringify(answer.slice(0, 50)));
    assert.ok(statuses.every((status) => status < 500), `${statuses.join()} for ${JSON.stringify(mutated)}`);
  });
});
