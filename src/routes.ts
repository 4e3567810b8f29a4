/** Every route: its handler, the sides that it is served on, and what guards it. */
import type { Config } from './config/config.ts';
import type { Credentials } from './config/credentials.ts';
import { createDashboard } from './dashboard/dashboard.ts';
import { requireToken } from './http/bearer.ts';
import { requireKnownHost } from './http/known-host.ts';
import type { Side } from './http/ports.ts';
import { NOT_FOUND } from './http/reply.ts';
import type { Handler, Route } from './http/router.ts';
import { refuseOtherSites } from './http/same-site.ts';
import type { Background } from './observe/background.ts';
import type { Log } from './observe/log.ts';
import type { Metrics } from './observe/metrics.ts';
import type { Refusals } from './observe/refusals.ts';
import { createShowReady, showLive } from './operations/health.ts';
import type { Readiness } from './operations/readiness.ts';
import { createShowRefusals } from './operations/show-refusals.ts';
import { createShowStorage } from './operations/show-storage.ts';
import { createShowArrivals } from './query/arrivals.ts';
import { createEraseMessages } from './query/erase.ts';
import { createListMessages } from './query/messages.ts';
import { createShowStats } from './query/stats.ts';
import type { Storage } from './storage/storage.ts';
import type { StreamHub } from './stream/hub.ts';
import { createStreamMessages } from './stream/stream-messages.ts';
import { createReceive } from './webhook/receive.ts';

/** What handlers are made of. */
export interface Parts {
  readonly config: Config;
  /** The credentials of this moment. */
  readonly credentials: () => Credentials;
  readonly storage: Storage;
  readonly hub: StreamHub;
  readonly background: Background;
  readonly readiness: Readiness;
  readonly metrics: Metrics;
  readonly refusals: Refusals;
  readonly showMetrics: Handler;
  readonly log: Log;
  /** The public port, once it is open. */
  readonly publicPort: () => number;
}

/** Lets those to a handler who may have what it gives. */
type Guard = (handler: Handler) => Handler;

/** Each route has to say on which sides it is, and whom it lets in. */
interface PlacedRoute extends Route {
  readonly sides: readonly Side[];
  readonly guard: Guard;
}

/** Returns the routes of the given sides, each behind its guard. */
export function createRoutes(parts: Parts): (sides: readonly Side[]) => Route[] {
  const { config, credentials, storage, hub, background, readiness, metrics, refusals, showMetrics, log } = parts;
  const { anybody, reader, monitoring } = createGuards(parts);
  const receive = createReceive({
    ...config, requiresClientCertificate: config.tls?.requiresClientCertificate ?? false, keys: () => credentials().webhook,
    now: Date.now, storage, log, metrics, refusals,
  });
  const streamMessages = createStreamMessages({ storage, hub, log, metrics });
  const showReady = createShowReady(readiness, storage, background);
  const get = (path: string, guard: Guard, handler: Handler, sides: readonly Side[] = ['private']): PlacedRoute =>
    ({ method: 'GET', path, sides, guard, handler });
  const all: PlacedRoute[] = [
    { method: 'POST', path: '/webhook', sides: ['public'], guard: anybody, handler: receive },
    get('/messages', reader, createListMessages(storage)),
    { method: 'DELETE', path: '/messages', sides: ['private'], ...erasing(parts) },
    get('/messages/stream', reader, streamMessages),
    get('/stats', reader, createShowStats(storage)),
    get('/stats/minutes', reader, createShowArrivals(storage, Date.now)),
    get('/storage', reader, createShowStorage(storage)),
    get('/refusals', reader, createShowRefusals(refusals)),
    get('/health/live', anybody, showLive, ['public', 'private']),
    get('/health/ready', anybody, showReady),
    get('/metrics', monitoring, showMetrics),
    ...pagesOf(parts).map(([path, handler]) => get(path, anybody, handler)),
  ];
  return (sides) => all.filter((route) => route.sides.some((side) => sides.includes(side)))
    .map(({ guard, ...route }) => ({ ...route, handler: guard(route.handler) }));
}

/** Without a token for it there is no such route. Whether there is one never changes. */
function erasing({ credentials, storage, log }: Parts): Pick<PlacedRoute, 'guard' | 'handler' | 'isUnlisted'> {
  if (credentials().eraseToken === null) return { guard: (handler) => handler, handler: () => NOT_FOUND, isUnlisted: true };
  return { guard: requireToken(() => credentials().eraseToken, () => {}), handler: createEraseMessages(storage, log) };
}

function createGuards({ config: { metricsEnabled, allowedHosts }, credentials, metrics }: Parts) {
  // No page has the token, whatever its name. Whether there is one never changes.
  const mayRead = credentials().readToken === null
    ? requireKnownHost(allowedHosts) : requireToken(() => credentials().readToken, metrics.readTokenVerified);
  return {
    /** The handler itself decides whom it believes, or shows nothing worth a guard. */
    anybody: (handler: Handler) => handler,
    /** Whoever may read messages, and figures about them. */
    reader: (handler: Handler) => refuseOtherSites(mayRead(handler)),
    /** Metrics hold no message, and take as long whatever is in the texts. */
    monitoring: requireToken(() => (metricsEnabled ? credentials().metricsToken : null), () => {}),
  };
}

/** By path: pages that hold no data. */
function pagesOf({ config, publicPort }: Parts): readonly [string, Handler][] {
  if (!config.dashboardEnabled) return [];
  return [...createDashboard(() => ({
    port: config.privateSide === null ? null : publicPort(), tls: config.tls !== null, schemes: config.signatureSchemes,
  }))];
}
