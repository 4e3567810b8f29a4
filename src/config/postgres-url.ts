/**
 * Takes a connection URI of PostgreSQL apart (https://www.postgresql.org/docs/current/libpq-connect.html, 34.1.1.2). Stricter than libpq:
 * nothing is guessed, and nothing that somebody on the way could read or change is let through.
 */
import { BlockList, isIP, isIPv6 } from 'node:net';
import type { Reading } from './environment.ts';

export interface PostgresHost {
  /** A name or an address; a folder of Unix sockets where it begins with `/`. */
  readonly host: string;
  readonly port: number;
}

/** The paths of PEM files. */
export interface TlsFiles {
  /** Of the certificates that must have issued the server's, or `system` for those of the operating system; null for those of Node.js. */
  readonly rootCertificate: string | null;
  readonly identity: { readonly certificate: string; readonly key: string } | null;
}

export interface PostgresUrl {
  /** 1 to 16, in the order of the URL. */
  readonly hosts: readonly PostgresHost[];
  readonly user: string;
  readonly password: string | null;
  readonly database: string;
  /** Null: no TLS, as each host is this machine. Otherwise the server has to show a certificate of its name. */
  readonly tls: TlsFiles | null;
}

/** Says what is wrong with the URL. Whoever wrote a password without encoding it finds parts of it anywhere: no value is ever said. */
type Refuse = (problem: string) => undefined;

const MOST_HOSTS = 16;
const DEFAULT_PORT = 5432;
const LARGEST_PORT = 65535;
/** unix(7): 108 with a NUL at the end. */
const MOST_SOCKET_PATH_BYTES = 107;

/** SQLAlchemy names its driver after the scheme. */
const SCHEME = /^postgres(?:ql(?:\+[a-z0-9_]+)?)?:\/\//;
/** After the scheme. A stray sign of those that part it mostly means that a password is not encoded. */
const FORM = /^([^@/?#\s\p{Cc}]*)@([^@/?#\s\p{Cc}]*)(?:\/([^@/?#\s\p{Cc}]*))?(?:\?([^@#\s\p{Cc}]*))?$/u;
const FORM_RULE = 'must have the form postgresql://user@host:port/name?parameters: encode any other @, /, ?, # and white space in it ' +
  'as %40, %2F, %3F, %23 and %20';

const HOST_NAME = /^(?=.{1,253}$)[a-z0-9_-]+(?:\.[a-z0-9_-]+)*$/i;

const PARAMETERS = ['host', 'sslmode', 'sslrootcert', 'sslcert', 'sslkey'] as const;
type ParameterName = (typeof PARAMETERS)[number];
type Parameters = ReadonlyMap<ParameterName, string>;
const TLS_PARAMETERS = ['sslrootcert', 'sslcert', 'sslkey'] as const satisfies readonly ParameterName[];
const PARAMETER_NAME = /^[a-z_]{1,40}$/i;

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8);
LOOPBACK.addAddress('::1', 'ipv6');

export const isPostgresUrl = (url: string): boolean => SCHEME.test(url);

/** The parts of a URL for which `isPostgresUrl` is true, or its problems. They repeat nothing of it but names of parameters. */
export function parsePostgresUrl(url: string): Reading<PostgresUrl> {
  const problems = new Set<string>();
  const refuse: Refuse = (problem) => void problems.add(`DATABASE_URL ${problem}`);
  const value = readUrl(url.replace(SCHEME, ''), refuse);
  return value === undefined || problems.size > 0 ? { valid: false, problems: [...problems] } : { valid: true, value };
}

function readUrl(text: string, refuse: Refuse): PostgresUrl | undefined {
  // Node.js puts it into a variable where bytes were not UTF-8.
  if (text.includes('\ufffd')) return refuse('must be UTF-8');
  const parts = FORM.exec(text);
  if (parts === null) return refuse(FORM_RULE);
  const [, login = '', hostList = '', name = '', query = ''] = parts;
  const { user, password } = readLogin(login, refuse);
  const { known, unknown } = readParameters(query, refuse);
  const hosts = known && readHosts(hostList, known.get('host'), refuse);
  const database = name === ''
    ? refuse('has no name of a database: put it after the hosts and a /')
    : decode(name, 'name of a database', refuse);
  const value = known !== undefined && hosts !== undefined && user !== undefined && password !== undefined && database !== undefined
    ? { hosts, user, password, database, tls: readTls(known, hosts, refuse) }
    : undefined;
  for (const given of unknown) {
    // Where the rest makes no sense, this may be a piece of a password.
    const parameter = value === undefined ? 'a parameter that' : `the parameter ${given}, which`;
    refuse(`has ${parameter} is not known: remove it (known are ${PARAMETERS.join(', ')})`);
  }
  return value;
}

/** RFC 3986, section 2.1, of UTF-8. The protocol ends strings with NUL. */
function decode(text: string, part: string, refuse: Refuse): string | undefined {
  try {
    const decoded = decodeURIComponent(text);
    return decoded.includes('\0') ? refuse(`has a NUL in its ${part}: remove it`) : decoded;
  } catch {
    return refuse(`has a % in its ${part} that begins no character of UTF-8: encode it as %25`);
  }
}

function readLogin(login: string, refuse: Refuse): { user: string | undefined; password: string | null | undefined } {
  const [, name = '', colon, secret = ''] = /^([^:]*)(?:(:)(.*))?$/.exec(login) ?? [];
  const user = name === '' ? refuse('has no user: put one before the hosts and an @') : decode(name, 'user', refuse);
  if (colon === undefined) return { user, password: null };
  const password = secret === '' ? refuse('has a colon after its user and no password: remove it') : decode(secret, 'password', refuse);
  return { user, password };
}

function readHosts(list: string, folder: string | undefined, refuse: Refuse): PostgresHost[] | undefined {
  const items = list.split(',');
  if (items.length > MOST_HOSTS) return refuse(`has more than ${MOST_HOSTS} hosts: name fewer`);
  const hosts = items.map((item) => readHost(item, folder, refuse)).filter((host) => host !== undefined);
  return hosts.length === items.length ? hosts : undefined;
}

function readHost(text: string, folder: string | undefined, refuse: Refuse): PostgresHost | undefined {
  const [, named = '', digits] = /^(\[[^\]]*\]|[^:]*)(?::(.*))?$/.exec(text) ?? [];
  const port = digits === undefined ? DEFAULT_PORT : /^[0-9]{1,5}$/.test(digits) ? Number(digits) : NaN;
  if (!(port >= 1 && port <= LARGEST_PORT)) {
    return refuse(`must have whole numbers from 1 to ${LARGEST_PORT} as ports, and addresses of IPv6 in brackets`);
  }
  if (folder !== undefined && !/^\/[^,]*$/.test(folder)) {
    return refuse('must have the folder of a Unix socket, which begins with /, as its parameter host: put other hosts before the name');
  }
  if (folder !== undefined && named !== '') return refuse('has hosts before its name and host as a parameter: keep one of them');
  if (folder === undefined && named === '') return refuse('has an empty host: name one');
  if (named.startsWith('[')) {
    const address = named.slice(1, -1);
    // A zone is of one machine's interfaces, and no certificate has one (RFC 6874).
    if (isIPv6(address) && !address.includes('%')) return { host: address, port };
    return refuse('must have nothing but addresses of IPv6 in brackets');
  }
  const host = folder ?? decode(named, 'hosts', refuse);
  if (host === undefined) return undefined;
  if (!host.startsWith('/')) {
    if (HOST_NAME.test(host)) return { host, port };
    return refuse('must have as hosts names of letters, digits, dots and hyphens, addresses, or folders of Unix sockets');
  }
  if (Buffer.byteLength(`${host}/.s.PGSQL.${port}`) <= MOST_SOCKET_PATH_BYTES) return { host, port };
  return refuse(`names a Unix socket whose path has more than ${MOST_SOCKET_PATH_BYTES} bytes: use a shorter folder`);
}

/** `known` is undefined where it has a problem. */
function readParameters(query: string, refuse: Refuse): { known: Parameters | undefined; unknown: string[] } {
  const known = new Map<ParameterName, string>();
  const unknown: string[] = [];
  let isGood = true;
  const fail: Refuse = (problem) => {
    isGood = false;
    return refuse(problem);
  };
  for (const item of query === '' ? [] : query.split('&')) {
    const [, given = '', text] = /^([^=]*)=([^=]*)$/.exec(item) ?? [];
    const name = PARAMETERS.find((one) => one === given);
    if (text === undefined || !PARAMETER_NAME.test(given)) fail('must have parameters of the form name=value, with & between them');
    else if (name === undefined) unknown.push(given);
    else if (known.has(name)) fail(`has the parameter ${name} twice: keep one`);
    else if (text === '') fail(`has an empty parameter ${name}: give it a value, or remove it`);
    else known.set(name, decode(text, `parameter ${name}`, fail) ?? '');
  }
  return { known: isGood ? known : undefined, unknown };
}

const isUnix = ({ host }: PostgresHost) => host.startsWith('/');
/** RFC 6761, section 6.3, for the name; whoever connects looks at the address that came of it. */
const isLoopback = ({ host }: PostgresHost) =>
  host.toLowerCase() === 'localhost' || (isIP(host) !== 0 && LOOPBACK.check(host, isIPv6(host) ? 'ipv6' : 'ipv4'));

function readTls(parameters: Parameters, hosts: readonly PostgresHost[], refuse: Refuse): TlsFiles | null {
  const isLocal = hosts.every((host) => isUnix(host) || isLoopback(host));
  const mode = parameters.get('sslmode') ?? (isLocal ? 'disable' : 'verify-full');
  const [rootCertificate = null, certificate, key] = TLS_PARAMETERS.map((name) => parameters.get(name));
  if (mode === 'disable') {
    if (!isLocal) refuse('must not have sslmode=disable where a host is not loopback or a Unix socket: remove it');
    for (const name of TLS_PARAMETERS.filter((name) => parameters.has(name))) {
      refuse(`has the parameter ${name} and no TLS: remove it, or set sslmode=verify-full`);
    }
    return null;
  }
  if (mode !== 'verify-full') {
    refuse('must have verify-full or disable as its sslmode: require, prefer and allow authenticate nobody, ' +
      'and verify-ca takes any name that the CA has issued a certificate to');
  } else if (hosts.every(isUnix)) refuse('has sslmode=verify-full, and Unix sockets have no TLS: remove it');
  if ((certificate === undefined) !== (key === undefined)) {
    const [set, missing] = certificate === undefined ? ['sslkey', 'sslcert'] : ['sslcert', 'sslkey'];
    refuse(`has ${set} without ${missing}: set both or neither`);
  }
  return { rootCertificate, identity: certificate !== undefined && key !== undefined ? { certificate, key } : null };
}
