import { setTimeout as delay } from 'node:timers/promises';
import type { Reply } from '../http/reply.ts';
import type { Handler } from '../http/router.ts';
import { CONTENT_TYPE, type Registry } from '../observe/prometheus.ts';

const DISABLED: Reply = { status: 404, headers: {}, body: '' };

/** A disk that hangs must not hide the metrics that tell of it: past this, figures that have to be waited for are the last known. */
const PATIENCE_MS = 500;

/** GET /metrics in the Prometheus text format; `refreshes` bring figures up to date that can't be read on the spot. */
export function createShowMetrics(registry: Registry, refreshes: readonly (() => Promise<unknown>)[]): Handler {
  let refreshing: Promise<unknown> | undefined;
  return async () => {
    refreshing ??= Promise.all(refreshes.map((refresh) => refresh())).finally(() => { refreshing = undefined; });
    await Promise.race([refreshing, delay(PATIENCE_MS)]);
    return { status: 200, headers: { 'Content-Type': CONTENT_TYPE }, body: registry.render() };
  };
}

/** GET /metrics where metrics are turned off. */
export const hideMetrics: Handler = () => DISABLED;
