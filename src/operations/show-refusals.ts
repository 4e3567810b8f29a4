import { jsonReply } from '../http/reply.ts';
import type { Handler } from '../http/router.ts';
import type { Refusals } from '../observe/refusals.ts';

/** GET /refusals: which requests were refused of late, and why, the newest first. */
export function createShowRefusals({ newestFirst }: Pick<Refusals, 'newestFirst'>): Handler {
  return () => jsonReply(200, {
    items: newestFirst().map(({ at, requestId, status, result, reason, errors, remoteAddress }) => ({
      at: new Date(at).toISOString(), request_id: requestId, status, result,
      ...(errors === undefined ? { reason: reason ?? result } : { errors }), remote_address: remoteAddress,
    })),
  });
}
