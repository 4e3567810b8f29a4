import { clientOf } from '../http/client.ts';
import { jsonReply } from '../http/reply.ts';
import type { Handler } from '../http/router.ts';
import type { Storage } from '../storage/storage.ts';

const MS_PER_MINUTE = 60_000;
const MINUTES = 60;

/** GET /stats/minutes: how many messages came in each minute of the last hour, this one last. `now`: milliseconds since 1970. */
export function createShowArrivals(storage: Pick<Storage, 'arrivals'>, now: () => number): Handler {
  return async ({ request }) => {
    const first = Math.floor(now() / MS_PER_MINUTE) - MINUTES + 1;
    const counts = new Map((await storage.arrivals(first, clientOf(request))).map(({ minute, count }) => [minute, count]));
    const minutes = Array.from({ length: MINUTES }, (_, index) => first + index);
    return jsonReply(200, {
      minutes: minutes.map((minute) => ({ from: new Date(minute * MS_PER_MINUTE).toISOString(), count: counts.get(minute) ?? 0 })),
    });
  };
}
