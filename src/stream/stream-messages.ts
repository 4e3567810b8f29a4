import { clientOf } from '../http/client.ts';
import { badRequest, gone, UNAVAILABLE, unprocessable } from '../http/reply.ts';
import { headerValues } from '../http/request-head.ts';
import type { Handler } from '../http/router.ts';
import type { Log } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import { readStreamQuery } from '../query/parameters.ts';
import type { Storage } from '../storage/storage.ts';
import { EVENT_STREAM_HEADERS } from './event-stream.ts';
import type { StreamHub } from './hub.ts';

export interface StreamMessagesOptions {
  readonly storage: Pick<Storage, 'newestSequence' | 'holds' | 'beforeAll'>;
  readonly hub: StreamHub;
  readonly log: Log;
  readonly metrics: Pick<Metrics, 'streamEnded'>;
}

/**
 * GET /messages/stream: each stored message as a server-sent event, in the order in which they were stored, from a position on. A reader
 * that comes again with the last position it has misses nothing, and gets nothing again.
 */
export function createStreamMessages({ storage, hub, log, metrics }: StreamMessagesOptions): Handler {
  return async ({ request, requestId, query, mayStillRead }) => {
    const reading = readStreamQuery(query, headerValues(request.rawHeaders, 'last-event-id').at(-1) ?? '');
    if (reading.kind === 'malformed') return badRequest('the query is not valid percent-encoded UTF-8');
    if (reading.kind === 'invalid') return unprocessable(reading.faults);
    const { filter, fields, begin } = reading;
    const client = clientOf(request);
    // Read before the answer begins, so that all that is acknowledged after it is in the stream.
    const newest = await storage.newestSequence(client);
    const isGone = typeof begin === 'object' && !await storage.holds(begin, client);
    if (isGone) return gone('the position is of another database; begin again with after=start');
    if (request.method !== 'HEAD' && !hub.reserve()) {
      log('WARNING', 'read_refused', { request_id: requestId, reason: 'no place for another stream' });
      return UNAVAILABLE;
    }
    const after = begin === 'start' ? storage.beforeAll : begin === 'now' ? newest : begin.sequence;
    return {
      status: 200,
      headers: EVENT_STREAM_HEADERS,
      body: (response) => hub.open(response, {
        filter, fields, client, after, mayStillRead,
        onEnded(end, messages) {
          metrics.streamEnded(end);
          log('INFO', 'stream_ended', { request_id: requestId, end, messages });
        },
      }),
    };
  };
}
