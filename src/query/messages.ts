import { clientOf } from '../http/client.ts';
import { badRequest, gone, jsonReply, unprocessable } from '../http/reply.ts';
import type { Handler } from '../http/router.ts';
import type { Position, Storage } from '../storage/storage.ts';
import { withFields } from './fields.ts';
import { queryOfNextPage, readMessageQuery } from './parameters.ts';
import { writeCursor } from './positions.ts';

/**
 * GET /messages: one page of the messages that match, and how many match in all. Where more follow, `Link` (RFC 8288) leads to
 * the next page, by a cursor: that page begins right after the last item of this one, whatever is stored between the two requests.
 * It names the query alone, so that it is right under any address by which a proxy serves this one (RFC 3986 section 5.2.2).
 */
export function createListMessages(storage: Pick<Storage, 'list' | 'generation' | 'holds'>): Handler {
  const linkToNext = (queryString: string, after: Position) => {
    const next = queryOfNextPage(queryString, writeCursor({ generation: storage.generation, after }));
    return { Link: `<?${next}>; rel="next"` };
  };
  return async (exchange) => {
    const reading = readMessageQuery(exchange.query);
    if (reading.kind === 'malformed') return badRequest('the query is not valid percent-encoded UTF-8');
    if (reading.kind === 'invalid') return unprocessable(reading.faults);
    const { query, fields, generation = storage.generation } = reading;
    const client = clientOf(exchange.request);
    const isKnown = generation === storage.generation || await storage.holds({ generation }, client);
    if (!isKnown) return gone('the cursor is of another database; begin again without one');
    const { items: messages, receipts = [], total, next } = await storage.list(query, client);
    const items = receipts.length === 0 ? messages : messages.flatMap((message, index) => {
      const receipt = receipts[index];
      return receipt === undefined ? [] : [withFields(message, receipt, fields)];
    });
    const page = { items, total, limit: query.limit, offset: query.offset };
    return jsonReply(200, page, next === null ? {} : linkToNext(exchange.query, next));
  };
}
