import { errorReply } from './reply.ts';
import { headerValues } from './request-head.ts';
import type { Handler } from './router.ts';

/** https://www.w3.org/TR/fetch-metadata/#sec-fetch-site-header, which wants unknown values ignored. */
const ANOTHER_SITE = /^(?:cross|same)-site$/i;

const REFUSED = errorReply(403, 'a page of another site may not ask for this');

/**
 * Whether a browser says that a page of another origin makes this request, be it of a neighbouring name. A browser says nothing over
 * plain HTTP to anything but loopback; other clients never do.
 */
export function isFromAnotherSite(rawHeaders: readonly string[]): boolean {
  return headerValues(rawHeaders, 'sec-fetch-site').some((site) => ANOTHER_SITE.test(site));
}

/** Keeps from a handler what pages elsewhere ask: they cannot read its answer, but how long it takes tells which words are in the texts. */
export function refuseOtherSites(handler: Handler): Handler {
  return (exchange) => (isFromAnotherSite(exchange.request.rawHeaders) ? REFUSED : handler(exchange));
}
