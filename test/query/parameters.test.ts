import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { writeCursor } from '../../src/query/positions.ts';
import { queryOfNextPage, readMessageQuery } from '../../src/query/parameters.ts';

function query(text: string) {
  const reading = readMessageQuery(text);
  assert.equal(reading.kind, 'valid', text);
  return reading.kind === 'valid' ? reading.query : undefined;
}

function faults(text: string): string[] {
  const reading = readMessageQuery(text);
  return reading.kind === 'invalid' ? reading.faults.map(({ loc, type }) => `${loc.join('.')}: ${type}`) : [];
}

describe('readMessageQuery', () => {
  test('has defaults, and takes an empty value as none', () => {
    for (const text of ['', '&', 'limit=&offset=&from=&since=&q=', 'limit', 'unknown=1', '=x']) {
      assert.deepEqual(query(text), { limit: 50, offset: 0 }, text);
    }
  });

  test('reads all filters', () => {
    assert.deepEqual(query('limit=100&offset=7&from=%2B12&since=2025-01-15T10:00:00.50Z&q=a%25b%5F+c%2B'), {
      limit: 100, offset: 7, from: '+12', since: '2025-01-15T10:00:00.5', q: 'a%b_ c+',
    });
  });

  test('lets the last of a repeated parameter count', () => {
    assert.equal(query('limit=x&limit=3')?.limit, 3);
    assert.equal(query('limit=3&limit=')?.limit, 50);
  });

  test('keeps an equals sign in a value, and takes escaped names', () => {
    assert.equal(query('q=a=b')?.q, 'a=b');
    assert.equal(query('%71=x')?.q, 'x');
  });

  test('restores the plus of a number that was pasted unescaped, and of nothing else', () => {
    assert.equal(query('from=+919876543210')?.from, '+919876543210');
    assert.equal(query('from=%20919876543210')?.from, '+919876543210');
    for (const from of [' 0123', ' 1', ' 12a', '  12', 'a']) assert.equal(query(`from=${encodeURIComponent(from)}`)?.from, from);
  });

  test('refuses numbers outside their bounds or not in plain digits', () => {
    for (const value of ['0', '101', '-1', '%2B1', '1e1', '0x10', '1.0', '%201', 'x', '٣', '9'.repeat(400)]) {
      assert.deepEqual(faults(`limit=${value}`), ['query.limit: whole_number'], value);
    }
    for (const value of ['-1', 'x', '9007199254740992', '9'.repeat(400)]) {
      assert.deepEqual(faults(`offset=${value}`), ['query.offset: whole_number'], value);
    }
    assert.equal(query('limit=1')?.limit, 1);
    assert.equal(query('limit=007')?.limit, 7);
    assert.equal(query('offset=9007199254740991')?.offset, Number.MAX_SAFE_INTEGER);
  });

  test('refuses a since that is no instant and a q that is too long', () => {
    assert.deepEqual(faults('since=2025-02-30T10:00:00Z'), ['query.since: timestamp']);
    assert.deepEqual(faults(`q=${'x'.repeat(257)}`), ['query.q: string_too_long']);
    assert.equal(query(`q=${encodeURIComponent('😀'.repeat(256))}`)?.q, '😀'.repeat(256));
  });

  test('takes the cursor that a page has given, and no other text', () => {
    const after = { instant: '2025-01-15T10:00:00', message_id: 'é/?' };
    const cursor = writeCursor({ generation: 'g', after });
    assert.deepEqual(readMessageQuery(`cursor=${cursor}&offset=0`), { kind: 'valid', generation: 'g', fields: [], query: { limit: 50, offset: 0, after } });
    const encode = (text: string) => Buffer.from(text).toString('base64url');
    const others = ['x', `${cursor}A`, `${cursor}==`, ` ${cursor}`, cursor.slice(1), encode('["g","2025"]'), encode('["g",1,"a"]'), encode('["g", "a","b"]'),
      encode('["g","a","b","c"]'), encode('{}'), encode('null'), Buffer.from('["g","\xff","b"]', 'latin1').toString('base64url')];
    for (const text of others) assert.deepEqual(faults(`cursor=${encodeURIComponent(text)}`), ['query.cursor: cursor'], text);
  });

  test('takes an order by name', () => {
    assert.deepEqual(query('order=newest'), { limit: 50, offset: 0, newestFirst: true });
    assert.deepEqual(query('order=oldest'), { limit: 50, offset: 0 });
    for (const order of ['Newest', 'desc', 'newest,oldest']) assert.deepEqual(faults(`order=${order}`), ['query.order: order']);
  });

  test('refuses an offset beside a cursor', () => {
    const cursor = writeCursor({ generation: 'g', after: { instant: '', message_id: '' } });
    assert.deepEqual(faults(`cursor=${cursor}&offset=1`), ['query.offset: cursor_with_offset']);
  });

  test('reports every fault at once', () => {
    assert.deepEqual(faults('limit=0&offset=-1&since=x'), ['query.limit: whole_number', 'query.offset: whole_number', 'query.since: timestamp']);
  });

  test('knows the fields beyond the content of a message, each once and in one order, and no others', () => {
    const fields = (text: string) => {
      const reading = readMessageQuery(`fields=${text}`);
      return reading.kind === 'valid' ? [reading.fields, reading.query.withReceipts] : reading;
    };
    for (const [text, wanted] of [
      ['', [[], undefined]], ['sequence', [['sequence'], true]], ['received_at', [['received_at'], true]],
      ['sequence,received_at', [['received_at', 'sequence'], true]], ['sequence,sequence', [['sequence'], true]],
    ] as const) assert.deepEqual(fields(text), wanted, text);
    for (const text of ['id', 'sequence,', ',', 'sequence,text', 'Sequence', 'sequence%20', 'received_at;sequence']) {
      assert.deepEqual(faults(`fields=${text}`), ['query.fields: fields'], text);
    }
  });

  test('calls malformed what is not percent-encoded UTF-8', () => {
    for (const text of ['q=%', 'q=%zz', 'q=%ff', 'q=%c0%af', 'q=%ed%a0%80', 'x=%f', '%ff=1']) {
      assert.equal(readMessageQuery(text).kind, 'malformed', text);
    }
  });
});

test('the query of the next page has the same filters, and nothing else but the cursor', () => {
  assert.equal(queryOfNextPage('order=newest&limit=2&offset=4&from=%2B12&since=&q=a%26b+%C3%A9&q=%3E%22&token=x&cursor=old', 'new'), 'order=newest&limit=2&from=%2B12&q=%3E%22&cursor=new');
  assert.equal(queryOfNextPage('', 'new'), 'cursor=new');
});
