import { jsonReply, badRequest, unprocessable } from '../http/reply.ts';
import type { Handler } from '../http/router.ts';
import type { Log } from '../observe/log.ts';
import type { Storage } from '../storage/storage.ts';
import { readErasure } from './parameters.ts';

/**
 * DELETE /messages: erases all that one of `from`, `to` and `message_id` names, and tells how many messages those were once none of them
 * can be read any more. Whom it concerned is in no log.
 */
export function createEraseMessages(storage: Pick<Storage, 'erase'>, log: Log): Handler {
  return async ({ query, requestId }) => {
    const reading = readErasure(query);
    if (reading.kind === 'malformed') return badRequest('the query is not valid percent-encoded UTF-8');
    if (reading.kind === 'invalid') return unprocessable(reading.faults);
    const erased = await storage.erase(reading.which, requestId);
    log('INFO', 'erased', { request_id: requestId, messages: erased });
    return jsonReply(200, { erased });
  };
}
