import { timingSafeEqual } from 'node:crypto';
import { digestToken, type TokenDigest } from '../config/credentials.ts';
import { matchingKey, type Rotation, type RotationKey } from '../rotation.ts';
import type { Exchange } from './exchange.ts';
import { errorReply } from './reply.ts';
import { headerValues } from './request-head.ts';
import type { Handler } from './router.ts';

/** RFC 6750 section 2.1, the name of the scheme in any case (RFC 9110 section 11.1). */
const BEARER = /^Bearer +([A-Za-z0-9\-._~+/]+=*)$/i;

const REALM = 'Bearer realm="webhook-inbox"';
/** RFC 6750 section 3.1: no error code where no credentials came. */
const TOKEN_MISSING = errorReply(401, 'send one header Authorization: Bearer, with the token', { 'WWW-Authenticate': REALM });
const TOKEN_WRONG = errorReply(401, 'the bearer token is wrong', { 'WWW-Authenticate': `${REALM}, error="invalid_token"` });

/**
 * Lets only those to a handler who show the token that is in use at that moment, or the one before it. Anybody where there is none.
 * `onVerified` learns which one it was.
 */
export function requireToken(
  tokens: () => Rotation<TokenDigest> | null, onVerified: (key: RotationKey) => void,
): (handler: Handler) => Handler {
  return (handler) => (exchange) => {
    const expected = tokens();
    if (expected === null) return handler(exchange);
    const token = shownToken(exchange);
    if (token === undefined) return TOKEN_MISSING;
    const shown = digestToken(token);
    const key = matches(expected, shown);
    if (key === null) return TOKEN_WRONG;
    onVerified(key);
    const mayStillRead = () => matches(tokens(), shown) !== null;
    return handler({ ...exchange, mayStillRead });
  };
}

function matches(expected: Rotation<TokenDigest> | null, shown: TokenDigest): RotationKey | null {
  return expected && matchingKey(expected, (digest) => timingSafeEqual(digest, shown));
}

function shownToken(exchange: Exchange): string | undefined {
  const [header, ...repeated] = headerValues(exchange.request.rawHeaders, 'authorization');
  return header === undefined || repeated.length > 0 ? undefined : BEARER.exec(header)?.[1];
}
