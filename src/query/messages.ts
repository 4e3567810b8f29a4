import { badRequest, jsonReply, unprocessable } from '../http/reply.ts';
import type { Handler } from '../http/router.ts';
import type { Storage } from '../storage/storage.ts';
import { readMessageQuery } from './parameters.ts';

/** GET /messages: one page of the messages that match, and how many match in all. */
export function createListMessages(storage: Pick<Storage, 'list'>): Handler {
  return async (exchange) => {
    const reading = readMessageQuery(exchange.query);
    if (reading.kind === 'malformed') return badRequest('the query is not valid percent-encoded UTF-8');
    if (reading.kind === 'invalid') return unprocessable(reading.faults);
    const { items, total } = await storage.list(reading.query);
    return jsonReply(200, { items, total, limit: reading.query.limit, offset: reading.query.offset });
  };
}
