import type { Reply } from '../http/reply.ts';
import type { Handler } from '../http/router.ts';
import { CONTENT_TYPE, type Registry } from '../observe/prometheus.ts';

const DISABLED: Reply = { status: 404, headers: {}, body: '' };

/** GET /metrics in the Prometheus text format; `refresh` brings figures up to date that can't be read on the spot. */
export function createShowMetrics(registry: Registry, refresh: () => Promise<unknown>): Handler {
  return async () => {
    await refresh();
    return { status: 200, headers: { 'Content-Type': CONTENT_TYPE }, body: registry.render() };
  };
}

/** GET /metrics where metrics are turned off. */
export const hideMetrics: Handler = () => DISABLED;
