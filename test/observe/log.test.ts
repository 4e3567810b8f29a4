import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createLog, describeError, LOG_LEVELS } from '../../src/observe/log.ts';

function capture() {
  const written: string[] = [];
  return { written, lines: { write: (line: string) => void written.push(line), dropped: () => 0, flush: async () => {} } };
}

describe('createLog', () => {
  test('writes one JSON object with time, level, event and fields', () => {
    const { written, lines } = capture();
    createLog(lines, 'INFO', () => 0)('WARNING', 'odd', { message_id: 'a\nb"c\u2028' });
    assert.deepEqual(written.map((line) => JSON.parse(line)), [
      { ts: '1970-01-01T00:00:00.000Z', level: 'WARNING', event: 'odd', message_id: 'a\nb"c\u2028' },
    ]);
    assert.ok(!written[0]?.includes('\n'));
  });

  test('writes what is one line to every reader, whatever is in a field, a key or an event', () => {
    const lineEnds = '\n\r\v\f\x1c\x1d\x1e\u0085\u2028\u2029';
    const fields = { message_id: `a${lineEnds}b`, [`key${lineEnds}`]: 1, errors: [{ loc: [lineEnds], type: '\\u2028' }] };
    const { written, lines } = capture();
    const log = createLog(lines, 'INFO', () => 0);
    log('INFO', `event${lineEnds}`, fields);
    log('INFO', 'plain', { text: 'é 😀 \u2027 \u202a \u0084' });
    assert.doesNotMatch(written[0] ?? '', /[\x00-\x1f\u0085\u2028\u2029]/);
    assert.match(written[0] ?? '', /\\u0085\\u2028\\u2029b/);
    assert.deepEqual(JSON.parse(written[0] ?? ''), { ts: '1970-01-01T00:00:00.000Z', level: 'INFO', event: `event${lineEnds}`, ...fields });
    assert.match(written[1] ?? '', /"é 😀 \u2027 \u202a \u0084"/);
  });

  test('leaves out what is below its level', () => {
    for (const [index, lowest] of LOG_LEVELS.entries()) {
      const { written, lines } = capture();
      const log = createLog(lines, lowest);
      for (const level of LOG_LEVELS) log(level, 'event');
      assert.deepEqual(written.map((line) => JSON.parse(line).level), LOG_LEVELS.slice(index));
    }
  });
});

describe('describeError', () => {
  test('says where, not what: the message may quote the input', () => {
    let caught: unknown;
    try {
      JSON.parse('canary-4711');
    } catch (error) {
      caught = error;
    }
    const described = describeError(caught);
    assert.equal(described['error'], 'SyntaxError');
    assert.ok(!JSON.stringify(described).includes('canary'));
    assert.match(JSON.stringify(described['stack']), /log\.test/);
  });

  test('copes with what is no error', () => {
    assert.deepEqual(describeError('canary'), { error: 'string' });
    const coded = Object.assign(new Error('x'), { code: 'EIO' });
    assert.equal(describeError(coded)['code'], 'EIO');
  });
});
