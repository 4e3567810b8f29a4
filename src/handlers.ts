/** The handler of every route, made of the parts of the service. */
import type { Config } from './config/config.ts';
import type { Credentials } from './config/credentials.ts';
import { createDashboard } from './dashboard/dashboard.ts';
import type { Handler } from './http/router.ts';
import type { Background } from './observe/background.ts';
import type { Log } from './observe/log.ts';
import type { Metrics } from './observe/metrics.ts';
import { createShowReady, showLive } from './operations/health.ts';
import type { Readiness } from './operations/readiness.ts';
import { createShowArrivals } from './query/arrivals.ts';
import { createListMessages } from './query/messages.ts';
import { createShowStats } from './query/stats.ts';
import type { Handlers } from './routes.ts';
import type { Storage } from './storage/storage.ts';
import type { StreamHub } from './stream/hub.ts';
import { createStreamMessages } from './stream/stream-messages.ts';
import { createReceive } from './webhook/receive.ts';

export interface Parts {
  readonly config: Config;
  /** The credentials of this moment. */
  readonly credentials: () => Credentials;
  readonly storage: Storage;
  readonly hub: StreamHub;
  readonly background: Background;
  readonly readiness: Readiness;
  readonly metrics: Metrics;
  readonly showMetrics: Handler;
  readonly log: Log;
  /** The public port, once it is open. */
  readonly publicPort: () => number;
}

export function createHandlers(parts: Parts): Handlers {
  const { config, credentials, storage, hub, background, readiness, metrics, showMetrics, log, publicPort } = parts;
  const requiresClientCertificate = config.tls?.requiresClientCertificate ?? false;
  return {
    receive: createReceive({
      ...config, requiresClientCertificate, keys: () => credentials().webhook, now: Date.now, storage, log, metrics,
    }),
    listMessages: createListMessages(storage),
    streamMessages: createStreamMessages({ storage, hub, log, metrics }),
    showStats: createShowStats(storage),
    showArrivals: createShowArrivals(storage, Date.now),
    showLive,
    showReady: createShowReady(readiness, storage, background),
    showMetrics,
    pages: config.dashboardEnabled ? createDashboard(() => ({
      port: config.privateSide === null ? null : publicPort(), tls: config.tls !== null, schemes: config.signatureSchemes,
    })) : new Map(),
  };
}
