import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { configOf, problemsOf } from '../support/config.ts';
import { startServerProcess } from '../support/server-process.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { waitFor } from '../support/wait.ts';

const folder = temporaryFolder({ after });
/** Stands for what is secret: nothing that is said may have it. */
const CANARY = 'C4n4ry-0f-31-bytes-of-a-generator';
const NAMES = ['WEBHOOK_SECRET', 'WEBHOOK_SECRET_PREVIOUS', 'READ_TOKEN', 'READ_TOKEN_PREVIOUS', 'METRICS_TOKEN'];

const baseOf = (name: string) => (name.endsWith('_PREVIOUS') ? { [name.replace('_PREVIOUS', '')]: 'the-one-in-use-now' } : {});

/** The environments in which a credential is this text: in its variable, where that can have it, and in its file. */
function waysToGive(name: string, text: string | Buffer): Record<string, string>[] {
  const path = join(folder, 'credential');
  writeFileSync(path, text);
  const inFile = { ...baseOf(name), [`${name}_FILE`]: path };
  return typeof text === 'string' && !text.includes('\0') ? [{ ...baseOf(name), [name]: text }, inFile] : [inFile];
}

const CANNOT_BE_MEANT: readonly (readonly [what: string, text: string | Buffer, said: RegExp])[] = [
  ['white space alone', ' \t', /is white space alone/],
  ['no-break spaces alone', '\u00a0\u00a0', /is white space alone/],
  ['a byte order mark before it', `\ufeff${CANARY}`, /has an invisible character/],
  ['a byte order mark before it, as bytes', Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), Buffer.from(CANARY)]), /has an invisible character/],
  ['a zero-width space', `${CANARY}\u200b`, /has an invisible character/],
  ['a zero-width joiner inside', `C4n\u200d${CANARY}`, /has an invisible character/],
  ['a word joiner', `\u2060${CANARY}`, /has an invisible character/],
  ['a soft hyphen', `C4\u00ad${CANARY}`, /has an invisible character/],
  ['a mark of direction', `\u202a${CANARY}\u202c`, /has an invisible character/],
  ['UTF-16 without a mark', Buffer.from(CANARY, 'utf16le'), /has a control character/],
  ['UTF-16 with a mark', Buffer.from(`\ufeff${CANARY}`, 'utf16le'), /_FILE must be a file of UTF-8 text/],
  ['UTF-16, big end first', Buffer.from(`\ufeff${CANARY}`, 'utf16le').swap16(), /_FILE must be a file of UTF-8 text/],
  ['a NUL at the end', `${CANARY}\0`, /has a control character/],
  ['an escape sequence of a terminal', `\x1b[1m${CANARY}\x1b[0m`, /has a control character/],
  ['a backspace', `${CANARY}\x7f`, /has a control character/],
  ['a control character of Latin-1', `${CANARY}\x85`, /has a control character/],
  ['what replaced a character', `C4n\ufffd${CANARY}`, /must be UTF-8/],
  ['a line of a file of variables', `WEBHOOK_SECRET=${CANARY}`, /begins with the name of a variable/],
  ['a line of a shell', `export READ_TOKEN="${CANARY}"`, /begins with the name of a variable/],
  ['a line of YAML', ` METRICS_TOKEN: ${CANARY}`, /begins with the name of a variable/],
  ['its older name before it', `webhook_secret_previous = ${CANARY}`, /begins with the name of a variable/],
  ['a private key', `-----BEGIN PRIVATE KEY-----\n${CANARY}\n-----END PRIVATE KEY-----`, /is a PEM block/],
  ['a certificate after its text', `Certificate:\n-----BEGIN CERTIFICATE-----\n${CANARY}\n-----END CERTIFICATE-----`, /is a PEM block/],
  ['dots', '\u2022'.repeat(20), /is hidden behind/],
  ['dots before its end', `${'\u25cf'.repeat(20)}C4n4`, /is hidden behind/],
  ['asterisks', '*'.repeat(20), /is hidden behind/],
];

const DOUBTFUL: readonly (readonly [what: string, text: string, said: RegExp])[] = [
  ['a space before it', ` ${CANARY}`, /begins or ends with white space/],
  ['a space after it', `${CANARY} `, /begins or ends with white space/],
  ['a tab after it', `${CANARY}\t`, /begins or ends with white space/],
  ['two newlines after it', `${CANARY}\n\n`, /begins or ends with white space/],
  ['two newlines of Windows after it', `${CANARY}\r\n\r\n`, /begins or ends with white space/],
  ['a carriage return after it', `${CANARY}\r`, /begins or ends with white space/],
  ['a no-break space after it', `${CANARY}\u00a0`, /begins or ends with white space/],
  ['a no-break space inside', `C4n\u00a0${CANARY}`, /has a space that is not the ASCII one/],
  ['an ideographic space inside', `C4n\u3000${CANARY}`, /has a space that is not the ASCII one/],
  ['two lines', `${CANARY}\n${CANARY}`, /has several lines/],
  ['a comment before it', `# production\n${CANARY}`, /has several lines/],
  ['double quotes', `"${CANARY}"`, /is in quotes/],
  ['single quotes', `'${CANARY}'`, /is in quotes/],
  ['backquotes', `\`${CANARY}\``, /is in quotes/],
  ['double quotes and a space', `"${CANARY}" `, /is in quotes/],
  ['English quotes', `\u201c${CANARY}\u201d`, /is in quotes/],
  ['German quotes', `\u201e${CANARY}\u201c`, /is in quotes/],
  ['single English quotes', `\u2018${CANARY}\u2019`, /is in quotes/],
  ['French quotes', `\u00ab${CANARY}\u00bb`, /is in quotes/],
  ['an escaped newline', `${CANARY}\\n`, /ends with a backslash and a letter/],
  ['Bearer before it', `Bearer ${CANARY}`, /begins with the name of an authentication scheme/],
  ['a signature', `sha256=${'ab'.repeat(32)}`, /begins as a signature does/],
  ['another name before it', `SIGNING_KEY=${CANARY}`, /begins with a name/],
  ['a line of a form', `Secret: ${CANARY}`, /begins with a name/],
  ['a header', `X-Signature: ${CANARY}`, /begins with a name/],
  ['JSON', `{"value":"${CANARY}"}`, /is a JSON object/],
  ['a variable of a shell', '${INBOX}', /is a reference that nothing has replaced/],
  ['a command of a shell', `$(cat ${CANARY})`, /is a reference that nothing has replaced/],
  ['a field of a template', `{{ ${CANARY} }}`, /is a reference that nothing has replaced/],
  ['a path', `/run/secrets/${CANARY}`, /is a path/],
  ['a path from here', `./${CANARY}`, /is a path/],
  ['less than all of it', `${CANARY}...`, /ends with an ellipsis/],
  ['less than all of it, in one sign', `${CANARY}\u2026`, /ends with an ellipsis/],
  ['an odd number of digits', '0123456789abcdef'.repeat(4).slice(1), /has an odd number of hexadecimal digits/],
  ...['changeme', 'change-me', 'CHANGE_ME!', 'your-secret', 'your-webhook-secret-here', 'my_secret_key', 'supersecret', 'secret', 'password', 'test-secret',
    'test_token_123', '<your secret>', '[secret]', 'undefined', 'null', 'replace-this-before-production', 'placeholder']
    .map((text) => [`the placeholder ${text}`, text, /is a placeholder/] as const),
];

describe('a credential that was copied with what cannot be meant', () => {
  for (const name of NAMES) {
    test(`is refused as ${name}, in its variable and in its file, and never repeated`, () => {
      for (const [what, text, said] of CANNOT_BE_MEANT) {
        for (const environment of waysToGive(name, text)) {
          for (const schemes of ['x-signature', 'standard-webhooks']) {
            const problems = problemsOf({ ...environment, SIGNATURE_SCHEMES: schemes });
            assert.equal(problems.length, 1, `${what}: ${problems.join('; ')}`);
            assert.ok(problems[0]?.startsWith(name), what);
            assert.match(problems[0] ?? '', said, what);
            assert.doesNotMatch(problems[0] ?? '', /C4n/, what);
          }
        }
      }
    });
  }
});

describe('a credential that may be meant and mostly is not', () => {
  for (const name of ['WEBHOOK_SECRET', 'WEBHOOK_SECRET_PREVIOUS']) {
    test(`is taken to the byte as ${name}, with a warning that does not repeat it`, () => {
      for (const [what, text, said] of DOUBTFUL) {
        const [inVariable = {}] = waysToGive(name, text);
        const { webhook, warnings } = configOf(inVariable).credentials;
        const key = name === 'WEBHOOK_SECRET' ? webhook?.current : webhook?.previous;
        assert.equal(key?.['x-signature'].export().toString(), text, what);
        const doubts = warnings.filter((warning) => said.test(warning));
        assert.equal(doubts.length, 1, `${what}: ${warnings.join('; ')}`);
        assert.ok(doubts[0]?.startsWith(`${name} `), what);
        assert.doesNotMatch(warnings.join(), /C4n/, what);
        // A newline of Windows at its end is the file's own.
        const [, inFile = {}] = waysToGive(name, text.endsWith('\r') ? `${text}\r\n` : `${text}\n`);
        assert.deepEqual(configOf(inFile).credentials.warnings, warnings, what);
      }
    });
  }

  for (const name of ['READ_TOKEN', 'READ_TOKEN_PREVIOUS', 'METRICS_TOKEN']) {
    test(`is refused as ${name} where RFC 6750 has no such token, and otherwise a warning`, () => {
      for (const [what, text, said] of DOUBTFUL) {
        const [inVariable = {}, inFile = {}] = waysToGive(name, text);
        const problems = problemsOf(inVariable);
        if (/^[\w.~+/-]+=*$/.test(text)) {
          assert.ok(configOf(inVariable).credentials.warnings.some((warning) => warning.startsWith(`${name} `) && said.test(warning)), what);
        } else {
          assert.ok(problems.length === 1 && problems[0]?.startsWith(`${name} must be letters, digits and`), what);
          assert.match(problems[0] ?? '', /\(RFC 6750\); it (?:is|has|begins|ends)/, what);
          if (!/[\r\n]$/.test(text)) assert.deepEqual(problemsOf(inFile), problems, what);
        }
        assert.doesNotMatch(problems.join(), /C4n/, what);
      }
    });
  }
});

test('what generators make is taken without a word', () => {
  const plausible = [
    CANARY, '0123456789abcdef'.repeat(4), 'k3Jd+/9sL0xQvB7nT2mWcE5rYuIoPaSdFgHjKlZxCvA=', '/k3Jd9sL0xQvB7nT2mWcE5rYuIoPaSdFgHjKlZxCvA==', 'a passphrase of five words',
    '018f3c2e-7b1d-7c3a-9a51-0d2f6b8e4c10', 'x9$Lq{2]vT<7;w"Rb\'8`Nz', 'un mot de passe très sûr', '密码密码密码密码', 'a'.repeat(64), '\u{1f511} and more than that',
    'secretary-of-state-7391-blue', 'tokenkeytokenkeytokenkey==',
  ];
  for (const secret of plausible) assert.deepEqual(configOf({ WEBHOOK_SECRET: secret }).credentials.warnings, [], secret);
  for (const token of plausible.filter((text) => /^[\w.~+/-]+=*$/.test(text))) {
    assert.deepEqual(configOf({ READ_TOKEN: token }).credentials.warnings, [], token);
  }
});

test('the largest file is judged at once, whatever it repeats', () => {
  for (const part of ['\n', ' ', '"', 'a', 'secret', '{"', '${', 'x ', '\u00a0', '<', 'ab', '-_']) {
    const [, inFile = {}] = waysToGive('WEBHOOK_SECRET', part.repeat(2 ** 20 / Buffer.byteLength(part)));
    problemsOf(inFile);
  }
});

describe('the process', () => {
  const QUOTED = `"whsec_${Buffer.alloc(24, 7).toString('base64')}"`;
  const start = (t: Parameters<typeof startServerProcess>[0], args: string[], env: Record<string, string>) =>
    startServerProcess(t, { args, env: { DATABASE_URL: join(temporaryFolder(t), 'app.db'), ...env } });

  test('refuses to start, and to find a configuration right, with a secret that cannot be meant', async (t) => {
    for (const args of [[], ['--check-config']]) {
      const server = start(t, args, { WEBHOOK_SECRET: QUOTED, SIGNATURE_SCHEMES: 'standard-webhooks' });
      assert.equal((await server.ended).code, 1);
      assert.deepEqual((await server.line('start_refused'))['problems'], ['WEBHOOK_SECRET must begin with whsec_, in lower case: remove what stands before that']);
      assert.equal(server.lines.length, 1);
    }
  });

  test('warns of a doubtful one at its start, and where its configuration is looked at', async (t) => {
    const warning = 'WEBHOOK_SECRET is in quotes: remove them, unless meant';
    const checked = await start(t, ['--check-config'], { WEBHOOK_SECRET: `"${CANARY}"` }).line('config_valid');
    assert.ok(Array.isArray(checked['warnings']) && checked['warnings'].includes(warning));
    const server = start(t, [], { WEBHOOK_SECRET: `"${CANARY}"` });
    await server.url();
    await waitFor('the warning', () => server.lines.some((line) => line['event'] === 'config_warning' && line['warning'] === warning));
    assert.doesNotMatch(JSON.stringify(server.lines) + server.stderr(), /C4n/);
  });
});
