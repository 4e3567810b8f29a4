import { jsonReply, OK, RETRY_AFTER } from '../http/reply.ts';
import type { Handler } from '../http/router.ts';
import type { Readiness } from './readiness.ts';

/** GET /health/live: the process runs. */
export const showLive: Handler = () => OK;

/** GET /health/ready: the process can take messages, or why it can't. */
export function createShowReady(readiness: Readiness): Handler {
  return () => {
    const reasons = readiness.reasons();
    return reasons.length === 0 ? OK : jsonReply(503, { status: 'unavailable', reasons }, RETRY_AFTER);
  };
}
