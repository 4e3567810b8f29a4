import assert from 'node:assert/strict';
import { createHash, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, test, type TestContext } from 'node:test';
import { LoginRefused } from '../../../src/storage/postgres/failures.ts';
import {
  channelBinding, createLogin, createScram, deriveProofs, prepare, type AuthenticationMessage,
} from '../../../src/storage/postgres/login.ts';
import { hasOpenssl, makeCertificate } from '../../support/certificates.ts';
import { temporaryFolder } from '../../support/temporary.ts';
import { SCRAM_EXCHANGE } from './recorded.ts';

const { password, nonce, clientFirst, serverFirst, clientFinal, serverFinal } = SCRAM_EXCHANGE;
const BINDING = Buffer.from('the hash of a certificate');
const PLUS = 'SCRAM-SHA-256-PLUS';

const scram = (binding: Buffer | null = null, mechanisms = ['SCRAM-SHA-256']) => createScram(mechanisms, password, { binding, nonce });

describe('SCRAM-SHA-256', () => {
  test('derives what RFC 7677 section 3 does', async () => {
    const exchanged = 'n=user,r=rOprNGfwEbeRWgbNEkqO,'
      + 'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,'
      + 'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0';
    const salt = Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64');
    const { proof, serverSignature } = await deriveProofs('pencil', { salt, iterations: 4096 }, exchanged);
    assert.equal(proof.toString('base64'), 'dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=');
    assert.equal(serverSignature.toString('base64'), '6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=');
  });

  test('says what was recorded', async () => {
    const { mechanism, first, final, verify } = scram();
    assert.deepEqual([mechanism, first], ['SCRAM-SHA-256', clientFirst]);
    assert.equal(await final(serverFirst), clientFinal);
    verify(serverFinal);
  });

  test('refuses a server that does not know the password', async () => {
    const cut = serverFinal.slice(0, -2);
    for (const wrong of [serverFinal.replace('=G', '=H'), 'v=', 'e=other-error', '', cut, `${serverFinal}=`, ` ${serverFinal}`]) {
      const { final, verify } = scram();
      assert.throws(() => verify(wrong), LoginRefused);
      await final(serverFirst);
      assert.throws(() => verify(wrong), LoginRefused, wrong);
    }
  });

  test('refuses a first message that answers another, is malformed or asks for too few or many iterations', async () => {
    const [r = '', s = ''] = serverFirst.split(',');
    const wrong = [
      '', 'e=x', r, `${r},${s}`, `${s},${r},i=4096`, `m=x,${serverFirst}`,
      `r=${nonce},${s},i=4096`, `r=x${nonce}x,${s},i=4096`, `r=,${s},i=4096`,
      `${r},s=,i=4096`, `${r},s=!,i=4096`, `${r},${s},i=`, `${r},${s},i=-1`, `${r},${s},i=0x2000`, `${r},${s},i=04096`, `${r},${s},i=4096.5`,
      `${r},${s},i=4095`, `${r},${s},i=100001`, `${r},${s},i=99999999999`,
    ];
    for (const message of wrong) await assert.rejects(scram().final(message), LoginRefused, message);
    for (const message of [`${r},${s},i=4096`, `${r},${s},i=100000`, `${r},${s},i=5000,x=later`]) {
      assert.match(await scram().final(message), /^c=biws,r=/);
    }
  });

  test('is bound to the channel where both can, and says that it could where the server cannot', async () => {
    const decoded = async (made: ReturnType<typeof scram>) => {
      const [, encoded = ''] = /c=([^,]*)/.exec(await made.final(serverFirst)) ?? [];
      return Buffer.from(encoded, 'base64').toString();
    };
    const binds = 'p=tls-server-end-point,,';
    const cases = [
      { made: scram(BINDING, [PLUS, 'SCRAM-SHA-256']), mechanism: PLUS, header: binds, bound: `${binds}${BINDING}` },
      { made: scram(BINDING, [PLUS]), mechanism: PLUS, header: binds, bound: `${binds}${BINDING}` },
      { made: scram(BINDING, ['SCRAM-SHA-256']), mechanism: 'SCRAM-SHA-256', header: 'y,,', bound: 'y,,' },
      { made: scram(null, [PLUS, 'SCRAM-SHA-256']), mechanism: 'SCRAM-SHA-256', header: 'n,,', bound: 'n,,' },
    ];
    for (const { made, mechanism, header, bound } of cases) {
      assert.deepEqual([made.mechanism, made.first], [mechanism, `${header}n=,r=${nonce}`]);
      assert.equal(await decoded(made), bound);
    }
    for (const mechanisms of [[], ['PLAIN'], ['SCRAM-SHA-1']]) assert.throws(() => scram(BINDING, mechanisms), LoginRefused);
    assert.throws(() => scram(null, [PLUS]), LoginRefused);
  });
});

test('a password is prepared as PostgreSQL prepares it, and taken as it is where SASLprep refuses it', () => {
  const prepared = {
    // RFC 4013 section 3.
    'I\u00adX': 'IX', user: 'user', USER: 'USER', '\u00aa': 'a', '\u2168': 'IX',
    'a\u0007\u2168': 'a\u0007\u2168', '\u0627\u0031': '\u0627\u0031',
    'a\u00a0b\u3000\u200b': 'a b  ', 'e\u0301': '\u00e9', '\ufeff\u00ad': '\ufeff\u00ad',
    '\u2168\ue000': '\u2168\ue000', '\u2168\u{1f600}': '\u2168\u{1f600}',
    '\u05d0\ufb01\u05d1': '\u05d0\ufb01\u05d1', '\u05d0\u00b2\u05d1': '\u05d02\u05d1', '\u00b2\u05d0': '\u00b2\u05d0', '': '',
  };
  for (const [given, expected] of Object.entries(prepared)) assert.equal(prepare(given), expected, JSON.stringify(given));
});

const skip = !hasOpenssl && 'openssl is not installed';
test('a channel is bound by the hash of the signature of its certificate, where that is agreed on', { skip }, (t) => {
  const folder = temporaryFolder(t);
  const rsa = ['-newkey', 'rsa:2048', '-nodes'];
  const bindingOf = (name: string, algorithm: readonly string[]) => {
    const certificate = new X509Certificate(readFileSync(makeCertificate(folder, name, 2, algorithm).certificate));
    const bound = channelBinding(certificate)?.toString('hex');
    const isBound = (hash: string) => createHash(hash).update(certificate.raw).digest('hex') === bound;
    return ['sha224', 'sha256', 'sha384', 'sha512'].find(isBound) ?? bound;
  };
  assert.equal(bindingOf('rsa-256', [...rsa, '-sha256']), 'sha256');
  assert.equal(bindingOf('rsa-384', [...rsa, '-sha384']), 'sha384');
  assert.equal(bindingOf('rsa-512', [...rsa, '-sha512']), 'sha512');
  assert.equal(bindingOf('rsa-1', [...rsa, '-sha1']), 'sha256');
  assert.equal(bindingOf('ec-512', ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-sha512']), 'sha512');
  assert.equal(bindingOf('pss', [...rsa, '-sha256', '-sigopt', 'rsa_padding_mode:pss']), undefined);
  assert.equal(bindingOf('ed25519', ['-newkey', 'ed25519', '-nodes']), undefined);
});

describe('a login', () => {
  const OK: AuthenticationMessage = { type: 'AuthenticationOk' };
  const OFFER: AuthenticationMessage = { type: 'AuthenticationSASL', mechanisms: ['SCRAM-SHA-256'] };
  const FIRST: AuthenticationMessage = { type: 'AuthenticationSASLContinue', data: serverFirst };
  const FINAL: AuthenticationMessage = { type: 'AuthenticationSASLFinal', data: serverFinal };

  /** What is answered to each of these, in their order. */
  async function logIn(given: string | null, ...messages: readonly AuthenticationMessage[]) {
    const login = createLogin({ password: given, binding: null, nonce });
    const answers: (string | null)[] = [];
    for (const message of messages) answers.push((await login.answer(message))?.toString('latin1') ?? null);
    return answers;
  }
  const refused = (t: TestContext, given: string | null, ...messages: readonly AuthenticationMessage[]) => {
    t.diagnostic(messages.map(({ type }) => type).join());
    return assert.rejects(logIn(given, ...messages), (error) => error instanceof LoginRefused && !String(error).includes(password));
  };

  test('goes through SCRAM to its end', async () => {
    const [first, final, nothing, end] = await logIn(password, OFFER, FIRST, FINAL, OK);
    assert.ok(first?.endsWith(clientFirst));
    assert.ok(final?.endsWith(clientFinal));
    assert.deepEqual([nothing, end], ['', null]);
  });

  test('is over where the server asks for nothing', async () => {
    assert.deepEqual(await logIn(password, OK), [null]);
    assert.deepEqual(await logIn(null, OK), [null]);
  });

  test('leaves no step of SCRAM out, and takes none twice', async (t) => {
    await refused(t, password, OFFER, OK);
    await refused(t, password, OFFER, FIRST, OK);
    await refused(t, password, FIRST);
    await refused(t, password, FINAL);
    await refused(t, password, OFFER, FINAL);
    await refused(t, password, OFFER, OFFER);
    await refused(t, password, OFFER, FIRST, FIRST);
    await refused(t, password, OFFER, FIRST, FINAL, FINAL);
    await refused(t, password, OFFER, FIRST, FINAL, OFFER);
    await refused(t, password, OK, OFFER);
    await refused(t, password, OK, OK);
  });

  test('shows the password to no server that asks for it in clear or by MD5', async () => {
    const advices = [[3, /in clear.*scram-sha-256/], [5, /MD5.*password_encryption/], [7, /not supported/], [9, /not supported/]] as const;
    for (const [code, advice] of advices) {
      await assert.rejects(logIn(password, { type: 'AuthenticationOther', code }), { name: 'LoginRefused', message: advice });
    }
  });

  test('says which settings to set where a password is wanted and there is none', async () => {
    for (const none of [null, '']) await assert.rejects(logIn(none, OFFER), { name: 'LoginRefused', message: /DATABASE_PASSWORD/ });
  });
});
