import { isIPv4 } from 'node:net';
import { errorReply } from './reply.ts';
import { headerValues } from './request-head.ts';
import type { Handler } from './router.ts';

const PORT = /:[0-9]*$/;
const NAME = /^[a-z0-9_-]+(?:\.[a-z0-9_-]+)*$/;
/**
 * Below these nobody can register a name: RFC 6761 section 6.3, RFC 6762 (Kubernetes' `cluster.local` is below it too), the `internal`
 * that ICANN reserved in 2024, and the `svc` of Kubernetes, which is no domain of the public DNS.
 */
const PRIVATE_SUFFIXES = ['.localhost', '.local', '.internal', '.svc'];

const REFUSED = errorReply(403,
  'whoever owns this host name could read messages by DNS rebinding: add it to ALLOWED_HOSTS, or set READ_TOKEN');

/**
 * Whether no stranger can own the host of a Host header that `readHead` has let through, and so point a name of a page of his at this
 * service: an address, a name without a dot or of a private network, or one of `allowedHosts` (lower case; with a dot before it also
 * all names below). Its port and case, and the dot at the end of an absolute name, make no difference.
 */
export function cannotBeRebound(hostHeader: string, allowedHosts: readonly string[]): boolean {
  const host = hostHeader.toLowerCase().replace(PORT, '').replace(/\.$/, '');
  if (host.startsWith('[') || isIPv4(host)) return true;
  if (!NAME.test(host)) return false;
  return !host.includes('.') || PRIVATE_SUFFIXES.some((suffix) => host.endsWith(suffix))
    || allowedHosts.some((allowed) => (allowed.startsWith('.') ? `.${host}`.endsWith(allowed) : host === allowed));
}

/** Lets only those to a handler who ask a host that cannot be rebound. HTTP/1.0 without Host is no browser's. */
export function requireKnownHost(allowedHosts: readonly string[]): (handler: Handler) => Handler {
  return (handler) => (exchange) =>
    (headerValues(exchange.request.rawHeaders, 'host').every((host) => cannotBeRebound(host, allowedHosts)) ? handler(exchange) : REFUSED);
}
