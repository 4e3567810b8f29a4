import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test, type TestContext } from 'node:test';
import { getCACertificates } from 'node:tls';
import { hasOpenssl, makeCertificate } from '../support/certificates.ts';
import { configOf, problemsOf } from '../support/config.ts';
import { startServerProcess } from '../support/server-process.ts';
import { temporaryFolder } from '../support/temporary.ts';

const folder = temporaryFolder({ after });
const LOCAL = 'postgresql://u@localhost/d';

function file(name: string, content: string): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

describe('the password of the database', () => {
  const passwordOf = (environment: Record<string, string>) => configOf({ DATABASE_URL: LOCAL, ...environment }).credentials.database?.password;

  test('comes from the URL, a variable or a file, or there is none', () => {
    assert.equal(passwordOf({}), null);
    assert.equal(passwordOf({ DATABASE_URL: 'postgresql://u:in%20it@localhost/d' }), 'in it');
    assert.equal(passwordOf({ DATABASE_PASSWORD: 'a b' }), 'a b');
    assert.equal(passwordOf({ DATABASE_PASSWORD_FILE: file('password', ' %41 \n') }), ' %41 ');
    assert.equal(configOf({ DATABASE_URL: 'app.db' }).credentials.database, null);
  });

  test('is among what is set where it stands by itself', () => {
    assert.deepEqual(configOf({ DATABASE_URL: LOCAL, METRICS_TOKEN: 'm', DATABASE_PASSWORD: 'p' }).credentials.set, ['METRICS_TOKEN', 'DATABASE_PASSWORD']);
    assert.deepEqual(configOf({ DATABASE_URL: LOCAL, DATABASE_PASSWORD_FILE: file('one', 'p') }).credentials.set, ['DATABASE_PASSWORD']);
    assert.deepEqual(configOf({ DATABASE_URL: 'postgresql://u:p@localhost/d' }).credentials.set, []);
  });

  test('comes from one place alone', () => {
    const path = file('one', 'p');
    const inUrl = { DATABASE_URL: 'postgresql://u:p@localhost/d' };
    assert.deepEqual(problemsOf({ ...inUrl, DATABASE_PASSWORD: 'p' }), ['DATABASE_PASSWORD is set, and DATABASE_URL has a password: keep one of them']);
    assert.deepEqual(problemsOf({ ...inUrl, DATABASE_PASSWORD_FILE: path }), ['DATABASE_PASSWORD_FILE is set, and DATABASE_URL has a password: keep one of them']);
    assert.deepEqual(problemsOf({ DATABASE_URL: LOCAL, DATABASE_PASSWORD: 'p', DATABASE_PASSWORD_FILE: path }), ['DATABASE_PASSWORD and DATABASE_PASSWORD_FILE are both set: keep one of them']);
  });

  test('is refused where the database is a file', () => {
    for (const url of [{}, { DATABASE_URL: 'sqlite:///app.db' }]) {
      assert.deepEqual(problemsOf({ ...url, DATABASE_PASSWORD: 'p' }), ['DATABASE_PASSWORD is set, and DATABASE_URL is the path of a file: do not set it']);
      assert.deepEqual(problemsOf({ ...url, DATABASE_PASSWORD_FILE: file('one', 'p') }), ['DATABASE_PASSWORD_FILE is set, and DATABASE_URL is the path of a file: do not set it']);
    }
  });

  test('that is there and no good is a problem beside those of the URL', () => {
    const problems = problemsOf({ DATABASE_URL: 'postgresql://u@localhost', DATABASE_PASSWORD: '' }).map((problem) => problem.split(':')[0]);
    assert.deepEqual(problems, ['DATABASE_URL has no name of a database', 'DATABASE_PASSWORD is set but empty']);
    assert.deepEqual(problemsOf({ DATABASE_URL: LOCAL, DATABASE_PASSWORD_FILE: file('empty', '\n') }), ['DATABASE_PASSWORD_FILE names a file that is empty']);
  });

  test('may be short, and is otherwise judged as any secret is', () => {
    const judged = (password: string): readonly string[] => {
      const [said, ...others] = [{ DATABASE_URL: LOCAL, DATABASE_PASSWORD: password }, { DATABASE_URL: `postgresql://u:${encodeURIComponent(password)}@localhost/d` }].map((environment) => {
        const problems = problemsOf(environment);
        return problems.length > 0 ? problems : configOf(environment).credentials.warnings;
      });
      assert.deepEqual(others[0], said?.map((words) => words.replace('DATABASE_PASSWORD', "DATABASE_URL's password")));
      return said ?? [];
    };
    for (const fine of ['x', 'two words', 'p@ss/w?rd#%', '密码']) assert.deepEqual(judged(fine), [], fine);
    assert.deepEqual(judged('"quoted"'), ['DATABASE_PASSWORD is in quotes: remove them, unless meant']);
    assert.deepEqual(judged('${PGPASSWORD}'), ['DATABASE_PASSWORD is a reference that nothing has replaced: give what it stands for, unless meant']);
    assert.deepEqual(judged('DATABASE_PASSWORD=p'), ['DATABASE_PASSWORD begins with the name of a variable: give what stands after that']);
    assert.deepEqual(judged('p\u200b'), ['DATABASE_PASSWORD has an invisible character, such as a byte order mark or a zero-width space: remove it']);
  });
});

describe('the TLS files of the database', () => {
  const made = (t: TestContext) => (hasOpenssl ? { ...makeCertificate(folder, 'one'), other: makeCertificate(folder, 'other') } : t.skip('openssl is not installed here'));
  const urlOf = (parameters: Record<string, string>) => `postgresql://u@h/d?${Object.entries(parameters).map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&')}`;
  const tlsOf = (parameters: Record<string, string>) => configOf({ DATABASE_URL: urlOf(parameters) }).credentials.database?.tls;
  const problems = (parameters: Record<string, string>) => problemsOf({ DATABASE_URL: urlOf(parameters) });

  test('are read where there is TLS', (t) => {
    assert.deepEqual(tlsOf({}), { ca: null, identity: null });
    assert.equal(configOf({ DATABASE_URL: LOCAL }).credentials.database?.tls, null);
    const { certificate, key, other } = made(t) ?? {};
    if (certificate === undefined || key === undefined || other === undefined) return;
    assert.deepEqual(tlsOf({ sslrootcert: other.certificate, sslcert: certificate, sslkey: key }), {
      ca: readFileSync(other.certificate, 'utf8'), identity: { certificate: readFileSync(certificate, 'utf8'), key: readFileSync(key, 'utf8') },
    });
  });

  test('may be those of the operating system as roots', () => {
    const roots = getCACertificates('system');
    if (roots.length === 0) assert.match(problems({ sslrootcert: 'system' }).join(), /^DATABASE_URL's sslrootcert is system, which has no certificates/);
    else assert.ok(roots.every((root) => tlsOf({ sslrootcert: 'system' })?.ca?.includes(root)));
  });

  test('are refused where they are no certificate, no key, or not each other\'s, and no path is repeated', (t) => {
    const { certificate, key, other } = made(t) ?? {};
    if (certificate === undefined || key === undefined || other === undefined) return;
    const none = join(folder, 'none');
    const unreadable = (name: string) => `DATABASE_URL's ${name} must be a file that this user can read (ENOENT)`;
    assert.deepEqual(problems({ sslrootcert: none, sslcert: none, sslkey: none }), ['sslrootcert', 'sslcert', 'sslkey'].map(unreadable));
    assert.deepEqual(problems({ sslrootcert: folder }), ["DATABASE_URL's sslrootcert must be a regular file of at most 1048576 bytes"]);
    for (const path of [key, file('empty', '')]) assert.deepEqual(problems({ sslrootcert: path }), ["DATABASE_URL's sslrootcert must be a file of PEM certificates"]);
    assert.deepEqual(problems({ sslcert: key, sslkey: key }), ["DATABASE_URL's sslcert must be a file of PEM certificates, that of the key first"]);
    assert.deepEqual(problems({ sslcert: certificate, sslkey: certificate }), ["DATABASE_URL's sslkey must be the file of a PEM private key without a passphrase"]);
    assert.deepEqual(problems({ sslcert: certificate, sslkey: other.key }), ["DATABASE_URL's sslkey must be the key of the first certificate in DATABASE_URL's sslcert"]);
  });
});

test('the process looks at a configuration of PostgreSQL without connecting, and shows nothing of it', async (t) => {
  const start = (DATABASE_URL: string) => startServerProcess(t, { args: ['--check-config'], env: { DATABASE_URL } });
  const good = start('postgresql://cAnary:cAnary@127.0.0.1:1/cAnary');
  await good.line('config_valid');
  const bad = start('postgresql://cAnary:cAnary@cAnary/cAnary?sslmode=require');
  assert.match(JSON.stringify(await bad.line('start_refused')), /authenticate nobody/);
  for (const server of [good, bad]) {
    await server.ended;
    assert.doesNotMatch(JSON.stringify(server.lines) + server.stderr(), /cAnary/);
  }
});
