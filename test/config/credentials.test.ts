import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test, type TestContext } from 'node:test';
import { digestToken } from '../../src/config/credentials.ts';
import { warningsOf } from '../../src/config/warnings.ts';
import { hasOpenssl, makeCertificate } from '../support/certificates.ts';
import { configOf, problemsOf } from '../support/config.ts';
import { temporaryFolder } from '../support/temporary.ts';

const folder = temporaryFolder({ after });
const LONG = 'sixteen bytes or more';

function file(name: string, content: string | Buffer): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

const webhookKeyOf = (environment: Record<string, string>) => configOf(environment).credentials.webhook?.current['x-signature'].export().toString();

describe('a secret', () => {
  test('comes from its variable or from the file that another names, without one newline at its end', () => {
    assert.equal(webhookKeyOf({ WEBHOOK_SECRET: `${LONG}\n` }), `${LONG}\n`);
    for (const [content, secret] of [
      [LONG, LONG], [`${LONG}\n`, LONG], [`${LONG}\r\n`, LONG], [`${LONG}\n\n`, `${LONG}\n`], [`\n${LONG}`, `\n${LONG}`], [` ${LONG} \n`, ` ${LONG} `], ['é\n', 'é'],
    ] as const) {
      assert.equal(webhookKeyOf({ WEBHOOK_SECRET_FILE: file('secret', content) }), secret, JSON.stringify(content));
    }
  });

  for (const name of ['WEBHOOK_SECRET', 'WEBHOOK_SECRET_PREVIOUS', 'READ_TOKEN', 'READ_TOKEN_PREVIOUS', 'METRICS_TOKEN']) {
    const base = name.endsWith('_PREVIOUS') ? { [name.replace('_PREVIOUS', '')]: 'currently-this-one' } : {};
    const problems = (changes: Record<string, string>) => problemsOf({ ...base, ...changes });

    test(`${name} is refused where it can't be what is meant, and no value is repeated`, () => {
      const path = file(name, LONG.replaceAll(' ', '-'));
      assert.deepEqual(problems({ [`${name}_FILE`]: path }), []);
      assert.deepEqual(problems({ [name]: LONG, [`${name}_FILE`]: path }), [`${name} and ${name}_FILE are both set: keep one of them`]);
      assert.deepEqual(problems({ [name]: '', [`${name}_FILE`]: path }), [`${name} and ${name}_FILE are both set: keep one of them`]);
      assert.deepEqual(problems({ [`${name}_FILE`]: '' }), [`${name}_FILE is set but empty: it must be the path of a file`]);
      assert.deepEqual(problems({ [`${name}_FILE`]: join(folder, 'none') }), [`${name}_FILE must be a file that this user can read (ENOENT)`]);
      assert.match(problems({ [`${name}_FILE`]: folder })[0] ?? '', /_FILE must be a regular file/);
      for (const empty of ['', '\n', '\r\n']) {
        assert.deepEqual(problems({ [`${name}_FILE`]: file('empty', empty) }), [`${name}_FILE names a file that is empty`]);
      }
      assert.deepEqual(problems({ [`${name}_FILE`]: file('latin1', Buffer.from('\xe9', 'latin1')) }), [`${name}_FILE must be a file of UTF-8 text`]);
      assert.match(problems({ [`${name}_FILE`]: file('large', 'x'.repeat(2 ** 20 + 1)) })[0] ?? '', /at most 1048576 bytes/);
      const empty = problems({ [name]: '' });
      assert.deepEqual(empty, name === 'WEBHOOK_SECRET' ? [] : [`${name} is set but empty: give it a value, or do not set it`]);
    });
  }

  test('that is a pipe is refused instead of waited for', () => {
    const pipe = join(folder, 'pipe');
    if (spawnSync('mkfifo', [pipe]).status !== 0) mkdirSync(pipe);
    assert.match(problemsOf({ WEBHOOK_SECRET_FILE: pipe })[0] ?? '', /must be a regular file/);
  });

  test('that replaces another needs to be there itself', () => {
    for (const name of ['WEBHOOK_SECRET', 'READ_TOKEN']) {
      assert.deepEqual(problemsOf({ [`${name}_PREVIOUS`]: 'alone-and-long-enough' }), [`${name}_PREVIOUS is set without ${name}: set both or neither`]);
    }
    const { webhook, set } = configOf({ WEBHOOK_SECRET: `new ${LONG}`, WEBHOOK_SECRET_PREVIOUS: `old ${LONG}` }).credentials;
    assert.deepEqual([webhook?.current, webhook?.previous].map((key) => key?.['x-signature'].export().toString()), [`new ${LONG}`, `old ${LONG}`]);
    assert.deepEqual(set, ['WEBHOOK_SECRET', 'WEBHOOK_SECRET_PREVIOUS']);
  });

  test('that is there and no good is the one problem, whatever it replaces', () => {
    const WEBHOOK_SECRET_PREVIOUS = `old ${LONG}`;
    assert.deepEqual(problemsOf({ WEBHOOK_SECRET_FILE: file('empty', ''), WEBHOOK_SECRET_PREVIOUS }), ['WEBHOOK_SECRET_FILE names a file that is empty']);
    assert.deepEqual(problemsOf({ WEBHOOK_SECRET: '', WEBHOOK_SECRET_PREVIOUS }), ['WEBHOOK_SECRET_PREVIOUS is set without WEBHOOK_SECRET: set both or neither']);
  });

  test('of fewer than 16 bytes is a warning', () => {
    const warned = (secret: string) => configOf({ WEBHOOK_SECRET: secret, READ_TOKEN: 'x'.repeat(15) }).credentials.warnings;
    assert.deepEqual(warned('x'.repeat(15)), ['WEBHOOK_SECRET has fewer than 16 bytes: use a longer one', 'READ_TOKEN has fewer than 16 bytes: use a longer one']);
    assert.deepEqual(warned('é'.repeat(8)).length, 1);
  });
});

describe('a secret of Standard Webhooks', () => {
  const problems = (secret: string, schemes = 'standard-webhooks') => problemsOf({ WEBHOOK_SECRET: secret, SIGNATURE_SCHEMES: schemes });
  const encoded = (bytes: number) => `whsec_${Buffer.alloc(bytes, 7).toString('base64')}`;

  test('is base64 of 24 to 64 bytes after whsec_', () => {
    for (const bytes of [24, 25, 26, 64]) assert.deepEqual(problems(encoded(bytes)), [], String(bytes));
    for (const secret of [encoded(23), encoded(65), 'whsec_', `${encoded(24)}=`, `${encoded(24)} `, `whsec_${'-'.repeat(32)}`, `whsec_${'_'.repeat(34)}`, encoded(25).replace(/=$/, ''), `${encoded(24)}\n`]) {
      assert.deepEqual(problems(secret), ['WEBHOOK_SECRET must be base64 of 24 to 64 bytes after whsec_'], secret);
    }
    assert.deepEqual(configOf({ WEBHOOK_SECRET: encoded(24), SIGNATURE_SCHEMES: 'standard-webhooks' }).credentials.webhook?.current['standard-webhooks'].export(), Buffer.alloc(24, 7));
    assert.equal(webhookKeyOf({ WEBHOOK_SECRET: encoded(24), SIGNATURE_SCHEMES: 'standard-webhooks,x-signature' }), encoded(24));
  });

  test('is meant without its padding too', () => {
    for (const bytes of [24, 25, 26, 64]) {
      const config = configOf({ WEBHOOK_SECRET: encoded(bytes).replace(/=+$/, ''), SIGNATURE_SCHEMES: 'standard-webhooks' });
      assert.deepEqual(config.credentials.webhook?.current['standard-webhooks'].export(), Buffer.alloc(bytes, 7));
      assert.deepEqual(config.credentials.warnings, []);
    }
  });

  test('is refused where something stands before it, or it is in capitals', () => {
    for (const secret of [`v1,${encoded(24)}`, `"${encoded(24)}"`, `'${encoded(24)}'`, `“${encoded(24)}”`, ` ${encoded(24)}`, `\u00a0${encoded(24)}`,
      `\n${encoded(24)}`, encoded(24).replace('whsec', 'WHSEC'), encoded(24).replace('w', 'W'), `Bearer ${encoded(24)}`, `secret: ${encoded(24)}`, `{"secret":"${encoded(24)}"}`]) {
      for (const schemes of ['standard-webhooks', 'x-signature,standard-webhooks']) {
        assert.deepEqual(problems(secret, schemes), ['WEBHOOK_SECRET must begin with whsec_, in lower case: remove what stands before that'], secret);
      }
    }
    for (const secret of [`"whsk_${'A'.repeat(88)}"`, `WHPK_${'A'.repeat(44)}`]) assert.match(problems(secret).join(), /^WEBHOOK_SECRET is a key for asymmetric/);
    assert.deepEqual(problems(LONG), []);
  });

  test('is none of its asymmetric keys', () => {
    for (const secret of [`whsk_${'A'.repeat(88)}`, `whpk_${'A'.repeat(44)}`]) {
      assert.deepEqual(problems(secret).map((problem) => problem.slice(0, 51)), ['WEBHOOK_SECRET is a key for asymmetric signatures, ']);
    }
    assert.match(problemsOf({ WEBHOOK_SECRET: 'whsec_x', WEBHOOK_SECRET_PREVIOUS: 'whpk_x', SIGNATURE_SCHEMES: 'standard-webhooks' }).join(), /WEBHOOK_SECRET must.*WEBHOOK_SECRET_PREVIOUS is a key/);
  });

  test('is any secret where only X-Signature is accepted', () => {
    for (const secret of ['whsec_short', 'whsk_x', 'whpk_x']) {
      assert.deepEqual(problems(secret, 'x-signature'), []);
      assert.equal(webhookKeyOf({ WEBHOOK_SECRET: secret }), secret);
    }
  });

  test('is a warning where only X-Signature is accepted, as a sender\'s library would decode it', () => {
    const warned = (secret: string, schemes: string) => configOf({ WEBHOOK_SECRET: secret, SIGNATURE_SCHEMES: schemes }).credentials.warnings;
    const warning = 'WEBHOOK_SECRET is of Standard Webhooks, which SIGNATURE_SCHEMES does not have: all of its text is the key';
    for (const secret of [encoded(24), `v1,${encoded(24)}`, encoded(24).toUpperCase(), `whpk_${'A'.repeat(44)}`]) {
      assert.deepEqual(warned(secret, 'x-signature'), [warning], secret);
    }
    assert.deepEqual(warned(encoded(24), 'x-signature,standard-webhooks'), []);
    const bare = encoded(24).replace('whsec_', '');
    assert.deepEqual(warned(bare, 'standard-webhooks'), ['WEBHOOK_SECRET is base64, which senders\' libraries decode: put whsec_ before it, unless meant']);
    assert.deepEqual(warned(bare, 'x-signature'), []);
    for (const mark of ['whsec-', 'whsec ', 'Whsec_']) assert.match(problems(`${mark}${bare}`).join(), /must begin with whsec_/);
  });
});

describe('a token', () => {
  test('is a warning where it is a secret of Standard Webhooks', () => {
    for (const name of ['READ_TOKEN', 'METRICS_TOKEN', 'ERASE_TOKEN']) {
      assert.deepEqual(configOf({ [name]: `whsec_${'A'.repeat(32)}` }).credentials.warnings, [`${name} is a secret of Standard Webhooks: give a token of its own`]);
    }
  });

  test('is told what it was copied with', () => {
    const rule = 'READ_TOKEN must be letters, digits and -._~+/ only, with = at its end at most (RFC 6750)';
    for (const [token, cause] of [
      ['Bearer a-token-of-readers', 'begins with the name of an authentication scheme: remove it'], ['"a-token-of-readers"', 'is in quotes: remove them'],
      ['a-token-of-readers\r', 'begins or ends with white space: remove it'], ['X-Token: abc', 'begins with a name: give what stands after that'],
    ]) assert.deepEqual(problemsOf({ READ_TOKEN: token ?? '' }), [`${rule}; it ${cause}`]);
    assert.deepEqual(problemsOf({ READ_TOKEN: 'a,token,of,readers' }), [rule]);
  });

  test('is of the form that can stand after Bearer', () => {
    for (const token of ['abc', 'A-z.0_9~+/==']) assert.deepEqual(configOf({ READ_TOKEN: token }).credentials.readToken?.current, digestToken(token));
    for (const token of ['a b', 'a=b', '=', 'é', 'a,b', '"a"']) assert.match(problemsOf({ READ_TOKEN: token })[0] ?? '', /^READ_TOKEN must be letters, digits/, token);
  });
});

test('a token that opens messages and metrics alike is a warning', () => {
  const [one, other] = ['a-token-for-readers', 'another-token-for-readers'];
  const warned = (environment: Record<string, string>) => configOf(environment).credentials.warnings;
  const warning = 'METRICS_TOKEN is also a READ_TOKEN: the monitoring system can read the messages';
  assert.deepEqual(warned({ READ_TOKEN: one, METRICS_TOKEN: one }), [warning]);
  assert.deepEqual(warned({ READ_TOKEN: one, READ_TOKEN_PREVIOUS: other, METRICS_TOKEN: other }), [warning]);
  assert.deepEqual(warned({ READ_TOKEN: one, METRICS_TOKEN: other }), []);
  const erasing = ['ERASE_TOKEN is also a token for reading: whoever may read can erase'];
  assert.deepEqual(warned({ READ_TOKEN: one, ERASE_TOKEN: one }), erasing);
  assert.deepEqual(warned({ READ_TOKEN: other, READ_TOKEN_PREVIOUS: one, ERASE_TOKEN: one }), erasing);
  assert.deepEqual(warned({ READ_TOKEN: other, METRICS_TOKEN: one, ERASE_TOKEN: one }), erasing);
  assert.deepEqual(warned({ READ_TOKEN: other, ERASE_TOKEN: one }), []);
});

describe('settings that guard', () => {
  test('name one or both schemes, in any order', () => {
    for (const [text, schemes] of [
      ['x-signature', ['x-signature']], ['standard-webhooks', ['standard-webhooks']],
      ['standard-webhooks, x-signature', ['x-signature', 'standard-webhooks']], ['x-signature,x-signature', ['x-signature']],
    ] as const) {
      assert.deepEqual(configOf({ SIGNATURE_SCHEMES: text }).signatureSchemes, schemes);
    }
    for (const text of ['', ',', 'x-signature,', 'X-Signature', 'hmac', 'x-signature;standard-webhooks']) {
      assert.equal(problemsOf({ SIGNATURE_SCHEMES: text }).length, 1, text);
    }
  });

  test('bound the tolerance', () => {
    for (const seconds of ['1', '86400']) assert.equal(configOf({ SIGNATURE_TOLERANCE_SECONDS: seconds }).signatureToleranceSeconds, Number(seconds));
    for (const seconds of ['0', '86401', '-1', '1.5']) assert.equal(problemsOf({ SIGNATURE_TOLERANCE_SECONDS: seconds }).length, 1);
  });

  test('put the private side on loopback unless they say otherwise', () => {
    assert.deepEqual(configOf({ PRIVATE_PORT: '8001' }).privateSide, { host: '127.0.0.1', port: 8001 });
    assert.deepEqual(configOf({ PRIVATE_PORT: '8001', PRIVATE_HOST: '0.0.0.0' }).privateSide, { host: '0.0.0.0', port: 8001 });
    assert.deepEqual(problemsOf({ PRIVATE_HOST: '0.0.0.0' }), ['PRIVATE_HOST is set without PRIVATE_PORT: set both or neither']);
    assert.equal(problemsOf({ PRIVATE_PORT: '' }).length, 1);
    const same = { PORT: '8001', PRIVATE_PORT: '8001', HOST: '127.0.0.1' };
    assert.deepEqual(problemsOf(same), ['PRIVATE_PORT and PORT are the same: choose another for one of them']);
    assert.deepEqual(problemsOf({ ...same, PRIVATE_HOST: '127.0.0.2' }), []);
    assert.deepEqual(problemsOf({ ...same, PORT: '0', PRIVATE_PORT: '0' }), []);
  });

  test('warn by name of each one that is off, and of nothing that is on', (t) => {
    const named = (environment: Record<string, string>) => warningsOf(configOf(environment), 0).map((warning) => warning.split(' ')[0]);
    assert.deepEqual(named({}), ['WEBHOOK_SECRET', 'SIGNATURE_SCHEMES', 'READ_TOKEN', 'METRICS_TOKEN', 'PRIVATE_PORT', 'TLS_CERT_FILE', 'TLS_CLIENT_CA_FILE']);
    if (!hasOpenssl) return t.skip('openssl is not installed here');
    const { certificate, key } = makeCertificate(folder, 'all');
    const all = {
      WEBHOOK_SECRET: LONG, SIGNATURE_SCHEMES: 'standard-webhooks', READ_TOKEN: 'x'.repeat(16), METRICS_TOKEN: 'y'.repeat(16), PRIVATE_PORT: '0',
      TLS_CERT_FILE: certificate, TLS_KEY_FILE: key, TLS_CLIENT_CA_FILE: certificate,
    };
    assert.deepEqual(named(all), []);
    assert.deepEqual(named({ ...all, ENABLE_METRICS: 'false', METRICS_TOKEN: 'x' }), ['METRICS_TOKEN']);
    assert.deepEqual(warningsOf(configOf(all), Date.now() + 3 * 86_400_000), ['TLS_CERT_FILE has expired: senders will refuse to connect']);
  });
});

describe('TLS files', () => {
  function certificates(t: TestContext) {
    if (!hasOpenssl) return t.skip('openssl is not installed here');
    const { certificate, key } = makeCertificate(folder, 'one');
    const other = makeCertificate(folder, 'other');
    return { certificate, key, other };
  }

  test('are taken together or not at all', () => {
    assert.deepEqual(problemsOf({ TLS_CERT_FILE: 'x' }), ['TLS_CERT_FILE is set without TLS_KEY_FILE: set both or neither']);
    assert.deepEqual(problemsOf({ TLS_KEY_FILE: 'x' }), ['TLS_KEY_FILE is set without TLS_CERT_FILE: set both or neither']);
    assert.deepEqual(problemsOf({ TLS_CLIENT_CA_FILE: 'x' }), ['TLS_CLIENT_CA_FILE is set without TLS_CERT_FILE: set both or neither']);
  });

  test('are refused where they are no certificate, no key, or not each other\'s', (t) => {
    const made = certificates(t);
    if (made === undefined) return;
    const { certificate, key, other } = made;
    const problems = (TLS_CERT_FILE: string, TLS_KEY_FILE: string, more: Record<string, string> = {}) => problemsOf({ TLS_CERT_FILE, TLS_KEY_FILE, ...more }).join();
    assert.equal(problems(certificate, key), '');
    assert.equal(problems(certificate, key, { TLS_CLIENT_CA_FILE: other.certificate }), '');
    assert.match(problems(key, key), /^TLS_CERT_FILE must be a file of PEM certificates/);
    assert.match(problems(certificate, certificate), /^TLS_KEY_FILE must be the file of a PEM private key/);
    assert.match(problems(certificate, other.key), /^TLS_KEY_FILE must be the key of the first certificate/);
    assert.match(problems(certificate, key, { TLS_CLIENT_CA_FILE: key }), /^TLS_CLIENT_CA_FILE must be a file of PEM certificates/);
    assert.match(problems(join(folder, 'none'), key), /^TLS_CERT_FILE must be a file that this user can read \(ENOENT\)/);
    assert.ok(Math.abs((configOf({ TLS_CERT_FILE: certificate, TLS_KEY_FILE: key }).credentials.tls?.expiresAt ?? 0) - Date.now() - 2 * 86_400_000) < 60_000);
  });
});
