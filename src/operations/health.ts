import { jsonReply, OK, RETRY_AFTER } from '../http/reply.ts';
import type { Handler } from '../http/router.ts';
import type { Background } from '../observe/background.ts';
import type { Storage } from '../storage/storage.ts';
import type { Readiness } from './readiness.ts';

/** GET /health/live: the process runs. */
export const showLive: Handler = () => OK;

/** GET /health/ready: the process can take messages, or why it can't. What only reads lack leaves it ready, and is said beside that. */
export function createShowReady(
  readiness: Readiness, storage: Pick<Storage, 'degraded'>, background: Pick<Background, 'failures'>,
): Handler {
  return () => {
    const reasons = readiness.reasons();
    if (reasons.length > 0) return jsonReply(503, { status: 'unavailable', reasons }, RETRY_AFTER);
    const degraded = [...storage.degraded(), ...background.failures()];
    return degraded.length === 0 ? OK : jsonReply(200, { status: 'ok', degraded });
  };
}
