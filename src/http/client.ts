import type { IncomingMessage } from 'node:http';
import { isIPv6 } from 'node:net';

/** How a server socket for both names an IPv4 address (RFC 4291 section 2.5.5.2). */
const IPV4_MAPPED = /^::ffff:(?=\d+\.)/i;
const GROUPS = 8;
/** Of an IPv6 address: a single host may use any address of its /64 (RFC 8981). */
const NETWORK_GROUPS = 4;

/**
 * Whom a request counts against where clients have to share: its IPv4 address, or the /64 network of its IPv6 address. `gone` where the
 * client has gone. Behind a reverse proxy all are one, as no header is believed.
 */
export function clientOf({ socket: { remoteAddress = 'gone' } }: Pick<IncomingMessage, 'socket'>): string {
  const address = remoteAddress.replace(IPV4_MAPPED, '');
  if (!isIPv6(address)) return address;
  const [head = [], tail] = address.split('::').map((part) => part.split(':').filter((group) => group !== ''));
  const zeros = tail === undefined ? [] : Array.from({ length: GROUPS - head.length - tail.length }, () => '0');
  return [...head, ...zeros, ...tail ?? []].slice(0, NETWORK_GROUPS).join(':');
}
