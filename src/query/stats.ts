import { clientOf } from '../http/client.ts';
import { jsonReply } from '../http/reply.ts';
import type { Handler } from '../http/router.ts';
import type { Storage } from '../storage/storage.ts';

/** GET /stats: how many messages, of how many senders, from when to when. */
export function createShowStats(storage: Pick<Storage, 'stats'>): Handler {
  return async ({ request }) => {
    const { total, senders, topSenders, firstTs, lastTs } = await storage.stats(clientOf(request));
    return jsonReply(200, {
      total_messages: total,
      senders_count: senders,
      messages_per_sender: topSenders,
      first_message_ts: firstTs,
      last_message_ts: lastTs,
    });
  };
}
