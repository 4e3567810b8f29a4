import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { configOf, problemsOf } from '../support/config.ts';

const databaseOf = (DATABASE_URL: string, more: Record<string, string> = {}) => configOf({ DATABASE_URL, ...more }).database;
const passwordOf = (DATABASE_URL: string) => configOf({ DATABASE_URL }).credentials.database?.password;
const problems = (DATABASE_URL: string) => problemsOf({ DATABASE_URL });
const LOCAL = { kind: 'postgres', hosts: [{ host: 'localhost', port: 5432 }], user: 'u', database: 'd', tls: false } as const;
/** Of the URL with this in the place of its hosts. */
const hostsOf = (hosts: string) => {
  const database = databaseOf(`postgresql://u@${hosts}/d`);
  return database.kind === 'postgres' ? database.hosts.map(({ host, port }) => `${host} ${port}`) : [];
};
const isEncrypted = (url: string) => {
  const database = databaseOf(url);
  return database.kind === 'postgres' && database.tls;
};

const FORM = 'DATABASE_URL must have the form postgresql://user@host:port/name?parameters: encode any other @, /, ?, # and white space in it ' +
  'as %40, %2F, %3F, %23 and %20';
const PORTS = 'DATABASE_URL must have whole numbers from 1 to 65535 as ports, and addresses of IPv6 in brackets';
const HOSTS = 'DATABASE_URL must have as hosts names of letters, digits, dots and hyphens, addresses, or folders of Unix sockets';
const SSLMODE = 'DATABASE_URL must have verify-full or disable as its sslmode: require, prefer and allow authenticate nobody, ' +
  'and verify-ca takes any name that the CA has issued a certificate to';

describe('the URL of a PostgreSQL', () => {
  test('has one of its schemes', () => {
    for (const scheme of ['postgresql', 'postgres', 'postgresql+psycopg', 'postgresql+asyncpg', 'postgresql+pg8000', 'postgresql+psycopg_async']) {
      assert.deepEqual(databaseOf(`${scheme}://u@localhost/d`), LOCAL, scheme);
    }
    for (const url of ['postgresql:/u@localhost/d', 'postgresql:u@localhost', 'POSTGRESQL://u@localhost/d', 'pg://u@localhost/d', 'postgres+x://u@localhost/d', 'postgresql+://u@localhost/d', 'mysql://u@localhost/d']) {
      assert.match(problems(url).join(), /^DATABASE_URL must be the path of a database file.*, or postgresql:\/\/user@host\/name$/, url);
    }
  });

  test('has up to 16 hosts, tried in their order, each with a port or 5432', () => {
    assert.deepEqual(hostsOf('one,two:5433,10.0.0.1:1,[2001:db8::1]:65535,[::1]'), ['one 5432', 'two 5433', '10.0.0.1 1', '2001:db8::1 65535', '::1 5432']);
    assert.equal(hostsOf(Array(16).fill('h').join()).length, 16);
    assert.deepEqual(problems(`postgresql://u@${Array(17).fill('h').join()}/d`), ['DATABASE_URL has more than 16 hosts: name fewer']);
    assert.deepEqual(hostsOf(`${'a.'.repeat(126)}a`).length, 1);
    const refused: [hosts: string, problem: string][] = [
      ['h:0', PORTS], ['h:65536', PORTS], ['h:', PORTS], ['h:+1', PORTS], ['h:1e3', PORTS], ['h:000001', PORTS], ['::1', PORTS], ['[::1', PORTS], ['[::1]5432', PORTS], ['h:0,h:0', PORTS],
      ['', 'DATABASE_URL has an empty host: name one'], ['a,', 'DATABASE_URL has an empty host: name one'], [',a', 'DATABASE_URL has an empty host: name one'], [':5432', 'DATABASE_URL has an empty host: name one'],
      ['[1.2.3.4]', 'DATABASE_URL must have nothing but addresses of IPv6 in brackets'], ['[fe80::1%25eth0]', 'DATABASE_URL must have nothing but addresses of IPv6 in brackets'], ['[]', 'DATABASE_URL must have nothing but addresses of IPv6 in brackets'],
      ['a..b', HOSTS], ['.a', HOSTS], ['a.', HOSTS], ['a*', HOSTS], ['é', HOSTS], ['a%20b', HOSTS], ['run%2Fx', HOSTS], [`${'a.'.repeat(126)}ab`, HOSTS],
    ];
    for (const [hosts, problem] of refused) assert.deepEqual(problems(`postgresql://u@${hosts}/d`), [problem], hosts);
  });

  test('names a Unix socket by its folder, as a host or as a parameter', () => {
    const socket = (port: number) => ({ ...LOCAL, hosts: [{ host: '/var/run/postgresql', port }] });
    for (const url of ['%2Fvar%2Frun%2Fpostgresql/d', '/d?host=/var/run/postgresql', '/d?host=%2Fvar%2Frun%2Fpostgresql', '/d?host=/var/run/postgresql&sslmode=disable']) {
      assert.deepEqual(databaseOf(`postgresql://u@${url}`), socket(5432), url);
    }
    for (const url of ['%2Fvar%2Frun%2Fpostgresql:6432/d', ':6432/d?host=/var/run/postgresql']) assert.deepEqual(databaseOf(`postgresql://u@${url}`), socket(6432), url);
    assert.deepEqual(problems('postgresql://u@h/d?host=/run'), ['DATABASE_URL has hosts before its name and host as a parameter: keep one of them']);
    for (const folder of ['run', 'h', '/a,/b', '%40abstract']) {
      assert.deepEqual(problems(`postgresql://u@/d?host=${folder}`), ['DATABASE_URL must have the folder of a Unix socket, which begins with /, as its parameter host: put other hosts before the name'], folder);
    }
    // The file in it, such as /.s.PGSQL.5432, has 14 bytes.
    for (const folder of [`%2F${'f'.repeat(92)}`, `%2F${'%C3%A9'.repeat(46)}`, `%2F${'f'.repeat(91)}:10000`]) assert.equal(hostsOf(folder).length, 1, folder);
    for (const url of [`%2F${'f'.repeat(93)}/d`, `%2F${'f'.repeat(92)}:10000/d`, `/d?host=/${'%C3%A9'.repeat(46)}f`]) {
      assert.deepEqual(problems(`postgresql://u@${url}`), ['DATABASE_URL names a Unix socket whose path has more than 107 bytes: use a shorter folder'], url);
    }
  });

  test('names its user and its database, as neither is guessed', () => {
    assert.deepEqual(problems('postgresql://@h/d'), ['DATABASE_URL has no user: put one before the hosts and an @']);
    assert.deepEqual(problems('postgresql://:secret@h/d'), ['DATABASE_URL has no user: put one before the hosts and an @']);
    for (const url of ['h/d', 'h', '', '/d?host=/run', 'u:p?x=y']) assert.deepEqual(problems(`postgresql://${url}`), [FORM], url);
    for (const url of ['u@h', 'u@h/', 'u@h/?sslmode=verify-full', 'u@h?sslmode=verify-full']) {
      assert.deepEqual(problems(`postgresql://${url}`), ['DATABASE_URL has no name of a database: put it after the hosts and a /'], url);
    }
  });

  test('is percent-encoded UTF-8', () => {
    assert.deepEqual(databaseOf('postgresql://%C3%BCser%40corp:x@localhost/d%2F%20%3F'), { ...LOCAL, user: 'üser@corp', database: 'd/ ?' });
    assert.deepEqual(databaseOf('postgresql://üser@localhost/数'), { ...LOCAL, user: 'üser', database: '数' });
    for (const [encoded, password] of [['p', 'p'], ['a:b', 'a:b'], ['a+b', 'a+b'], ['%40%2F%3A%3F%23%25%20', '@/:?#% '], ['p%E4%BD%A0', 'p你'], ['%26=&', '&=&']] as const) {
      assert.equal(passwordOf(`postgresql://u:${encoded}@localhost/d`), password, encoded);
    }
    for (const bad of ['%', '%4', '%zz', '%C3', '%C3%28', '%C0%80', '%ED%A0%80', '%F5%80%80%80', '100%']) {
      const refused = (part: string) => [`DATABASE_URL has a % in its ${part} that begins no character of UTF-8: encode it as %25`];
      assert.deepEqual(problems(`postgresql://${bad}@h/d`), refused('user'), bad);
      assert.deepEqual(problems(`postgresql://u:${bad}@h/d`), refused('password'), bad);
      assert.deepEqual(problems(`postgresql://u@${bad}/d`), refused('hosts'), bad);
      assert.deepEqual(problems(`postgresql://u@h/${bad}`), refused('name of a database'), bad);
      assert.deepEqual(problems(`postgresql://u@h/d?sslrootcert=${bad}`), refused('parameter sslrootcert'), bad);
    }
    assert.deepEqual(problems('postgresql://u%00:p%00@h/d%00'), ['user', 'password', 'name of a database'].map((part) => `DATABASE_URL has a NUL in its ${part}: remove it`));
    assert.deepEqual(problems('postgresql://u:p\ufffd@h/d'), ['DATABASE_URL must be UTF-8']);
  });

  test('is refused where a sign that parts it stands elsewhere, as in a password that is not encoded', () => {
    for (const url of ['u:a@b@h/d', 'u:a/b@h/d', 'u:a?b=c@h/d', 'u:a#b@h/d', 'u@h/d/', 'u@h/d#x', 'u@h/d?sslcert=a@b', 'u:a b@h/d', ' u@h/d', 'u@h/d\n', 'u@h/d ', 'u\u0001@h/d', 'u:p@h/d\u00a0']) {
      assert.deepEqual(problems(`postgresql://${url}`), [FORM], url);
    }
    assert.deepEqual(problems('postgresql://u:@h/d'), ['DATABASE_URL has a colon after its user and no password: remove it']);
  });

  test('has no parameter but those that are known, once each and with a value', () => {
    const known = 'host, sslmode, sslrootcert, sslcert, sslkey';
    for (const name of ['application_name', 'password', 'user', 'port', 'ssl', 'options', 'connect_timeout', 'target_session_attrs', 'SSLMODE']) {
      assert.deepEqual(problems(`postgresql://u@h/d?${name}=x`), [`DATABASE_URL has the parameter ${name}, which is not known: remove it (known are ${known})`]);
    }
    for (const query of ['x', '=x', 'a b=x'.replace(' ', '%20'), 'sslmode', 'sslmode=a=b', '&', 'sslmode=verify-full&', `${'n'.repeat(41)}=x`, '?sslmode=verify-full', 'p4ss=x']) {
      assert.deepEqual(problems(`postgresql://u@h/d?${query}`), ['DATABASE_URL must have parameters of the form name=value, with & between them'], query);
    }
    assert.deepEqual(problems('postgresql://u@h/d?sslmode=verify-full&sslmode=verify-full'), ['DATABASE_URL has the parameter sslmode twice: keep one']);
    assert.deepEqual(problems('postgresql://u@h/d?sslmode='), ['DATABASE_URL has an empty parameter sslmode: give it a value, or remove it']);
    assert.deepEqual(problems('postgresql://u@h/d?'), []);
  });

  test('is one of all its problems', () => {
    assert.deepEqual(problems('postgresql://:%@a..b,[x]/?one=1&two=2').map((problem) => problem.replace(/\(known.*/, '').slice('DATABASE_URL '.length, 40)), [
      'has no user: put one before', 'has a % in its password tha', 'must have as hosts names of', 'must have nothing but addre', 'has no name of a database: ',
      'has a parameter that is not',
    ]);
  });
});

describe('TLS to a PostgreSQL', () => {
  test('is there unless each host is loopback or a Unix socket', () => {
    for (const hosts of ['localhost', 'LocalHost', '127.0.0.1', '127.255.255.255', '[::1]', '[0:0:0:0:0:0:0:1]', '[::ffff:127.0.0.1]', '%2Frun', 'localhost,127.0.0.1:5433,[::1],%2Frun']) {
      assert.equal(isEncrypted(`postgresql://u@${hosts}/d`), false, hosts);
      assert.equal(isEncrypted(`postgresql://u@${hosts}/d?sslmode=disable`), false, hosts);
    }
    for (const hosts of ['h', '126.255.255.255', '128.0.0.1', '0.0.0.0', '10.0.0.1', '[::2]', '[::]', '[::ffff:10.0.0.1]', 'localhost.example.com', 'localhost,h', '%2Frun,h', '127.1']) {
      assert.equal(isEncrypted(`postgresql://u@${hosts}/d`), true, hosts);
      assert.equal(isEncrypted(`postgresql://u@${hosts}/d?sslmode=verify-full`), true, hosts);
      assert.deepEqual(problems(`postgresql://u@${hosts}/d?sslmode=disable`), ['DATABASE_URL must not have sslmode=disable where a host is not loopback or a Unix socket: remove it'], hosts);
    }
    for (const hosts of ['localhost', 'localhost,%2Frun']) assert.equal(isEncrypted(`postgresql://u@${hosts}/d?sslmode=verify-full`), true);
    assert.deepEqual(problems('postgresql://u@%2Frun,%2Ftmp/d?sslmode=verify-full'), ['DATABASE_URL has sslmode=verify-full, and Unix sockets have no TLS: remove it']);
  });

  test('authenticates the server by its name, or is refused', () => {
    for (const mode of ['require', 'verify-ca', 'prefer', 'allow', 'Verify-Full', 'true']) {
      for (const host of ['h', 'localhost', '%2Frun']) assert.deepEqual(problems(`postgresql://u@${host}/d?sslmode=${mode}`), [SSLMODE], mode);
    }
  });

  test('has a certificate with its key or neither, and no files where there is no TLS', () => {
    assert.deepEqual(problems('postgresql://u@h/d?sslcert=x'), ['DATABASE_URL has sslcert without sslkey: set both or neither']);
    assert.deepEqual(problems('postgresql://u@h/d?sslkey=x'), ['DATABASE_URL has sslkey without sslcert: set both or neither']);
    for (const mode of ['', '&sslmode=disable']) {
      assert.deepEqual(problems(`postgresql://u@localhost/d?sslrootcert=x&sslcert=x&sslkey=x${mode}`),
        ['sslrootcert', 'sslcert', 'sslkey'].map((name) => `DATABASE_URL has the parameter ${name} and no TLS: remove it, or set sslmode=verify-full`));
    }
  });
});

test('notifications are for PostgreSQL alone, and on unless they are turned off', () => {
  const DATABASE_URL = 'postgresql://u@localhost/d';
  assert.equal(configOf({ DATABASE_URL }).databaseNotify, 'auto');
  for (const word of ['auto', 'off'] as const) assert.equal(configOf({ DATABASE_URL, DATABASE_NOTIFY: word }).databaseNotify, word);
  for (const word of ['on', 'true', 'OFF']) assert.deepEqual(problemsOf({ DATABASE_URL, DATABASE_NOTIFY: word }), ['DATABASE_NOTIFY must be auto or off']);
  for (const file of [{}, { DATABASE_URL: 'app.db' }]) {
    assert.deepEqual(problemsOf({ ...file, DATABASE_NOTIFY: 'off' }), ['DATABASE_NOTIFY is set, and DATABASE_URL is the path of a file: do not set it']);
  }
  assert.equal(problemsOf({ DATABASE_URL: 'postgresql://h/d', DATABASE_NOTIFY: 'off' }).length, 1);
});

/** Numbers from 0 to below 1, the same for the same seed. */
function createRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

test('no problem repeats a value of the URL, however it is broken', () => {
  const random = createRandom(4711);
  const pick = (choices: readonly string[]) => choices[Math.floor(random() * choices.length)] ?? '';
  const CANARIES = ['cAnaryUser', 'cAnaryPass', 'cAnaryHost', 'cAnaryName', 'cAnaryMode', 'cAnaryFile'] as const;
  const [user, pass, host, name, mode, path] = CANARIES;
  const signs = ['', '', '', '@', '/', '?', '#', ':', '%', ' ', '%40', '[', ']', ',', '&', '=', '\ufffd', '%00', '%ff', '\n', 'é', '+', '"'];
  let refused = 0;
  for (let round = 0; round < 4000; round += 1) {
    const url = ['postgresql://', user, pick([':', ':', '', '@']), pass, pick(signs), pass, pick(['@', '@', '']), pick(signs), host, pick([':5432', ':0', '', pick(signs)]),
      pick(['/', '/', '']), name, pick(signs), pick(['?', '?', '']), pick(['sslmode', 'sslcert', 'unknown', '']), '=', mode, pick(signs), '&', pick(['sslrootcert', 'host', 'sslkey']), '=/', path].join('');
    const found = problems(url);
    if (found.length > 0) refused += 1;
    assert.doesNotMatch(found.join(), /cAnary/, JSON.stringify(url));
  }
  assert.ok(refused > 3000, String(refused));
});
