import type { IncomingMessage } from 'node:http';
import { isIPv6 } from 'node:net';
import type { RequestRefusal } from '../observe/metrics.ts';
import { badRequest, HEADERS_TOO_LARGE, type WholeReply } from './reply.ts';

/** The parts of a request target that routing needs, still percent-encoded. */
export interface Target {
  readonly path: string;
  /** What follows the first `?`, without it; empty where there is none. */
  readonly query: string;
}

export type HeadReading =
  | { readonly valid: true; readonly target: Target }
  | { readonly valid: false; readonly refusal: RequestRefusal; readonly reply: WholeReply };

type Head = Pick<IncomingMessage, 'httpVersion' | 'rawHeaders' | 'url'>;

/** RFC 9112 section 2.2: a target has visible ASCII only; `#` never goes over the wire. */
const VISIBLE_ASCII = /^[\x21\x22\x24-\x7e]+$/;
const ABSOLUTE_FORM = /^https?:\/\/([^/?]*)([^]*)$/i;
/** RFC 9110 section 7.2: uri-host [ ":" port ], the host not empty. */
const HOST = /^(?:\[([^\]]*)\]|(?:[a-z0-9._~!$&'()*+,;=-]|%[0-9a-f]{2})+)(?::[0-9]{0,5})?$/i;

/** node:http bounds the bytes of target, names and values alone: 16,000 lines of `A:` would pass. */
const MAX_HEADER_LINES = 100;

/** All values of a header, in order. Unlike `request.headers` this joins and drops none. */
export function headerValues(rawHeaders: readonly string[], lowerCaseName: string): string[] {
  const values: string[] = [];
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const name = rawHeaders[index];
    if (name?.length === lowerCaseName.length && name.toLowerCase() === lowerCaseName) values.push(rawHeaders[index + 1] ?? '');
  }
  return values;
}

/**
 * Refuses what node:http lets through though two parties could read it differently (RFC 9112 sections 3.2, 6.1 and
 * 11.2), and splits the target by hand: `new URL` throws on `//` and takes `//x/health` for another host's path.
 */
export function readHead({ httpVersion, rawHeaders, url = '' }: Head): HeadReading {
  const invalid = (refusal: RequestRefusal, problem: string): HeadReading => ({ valid: false, refusal, reply: badRequest(problem) });
  if (rawHeaders.length > 2 * MAX_HEADER_LINES) return { valid: false, refusal: 'head_too_large', reply: HEADERS_TOO_LARGE };
  if (httpVersion !== '1.1' && httpVersion !== '1.0') return invalid('unsupported_version', 'the HTTP version must be 1.1 or 1.0');

  const hosts = headerValues(rawHeaders, 'host');
  if (hosts.length > 1) return invalid('invalid_host', 'there must be one Host header');
  const host = hosts[0];
  if (host === undefined && httpVersion === '1.1') return invalid('invalid_host', 'the Host header is missing');
  if (host !== undefined && !isHost(host)) return invalid('invalid_host', 'the Host header is malformed');

  const codings = headerValues(rawHeaders, 'transfer-encoding');
  const chunkedOnly = codings.length === 1 && codings[0]?.toLowerCase() === 'chunked' && httpVersion === '1.1';
  if (codings.length > 0 && !chunkedOnly) {
    return invalid('invalid_transfer_encoding', 'Transfer-Encoding must be chunked alone, in HTTP/1.1');
  }

  if (!VISIBLE_ASCII.test(url)) return invalid('invalid_target', 'the request target is malformed');
  const absolute = ABSOLUTE_FORM.exec(url);
  if (absolute === null && !url.startsWith('/')) return invalid('invalid_target', 'the request target is malformed');
  if (absolute === null) return { valid: true, target: split(url) };
  const [, authority = '', rest = ''] = absolute;
  if (authority.toLowerCase() !== host?.toLowerCase()) return invalid('invalid_target', 'the request target names another host');
  return { valid: true, target: split(rest.startsWith('/') ? rest : `/${rest}`) };
}

function isHost(value: string): boolean {
  const match = HOST.exec(value);
  return match !== null && (match[1] === undefined || isIPv6(match[1]));
}

function split(originForm: string): Target {
  const mark = originForm.indexOf('?');
  return mark === -1
    ? { path: originForm, query: '' }
    : { path: originForm.slice(0, mark), query: originForm.slice(mark + 1) };
}
