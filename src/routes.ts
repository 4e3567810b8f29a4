/** Every route: which handler it has, on which side it is served, and what guards it. */
import type { Handler, Route } from './http/router.ts';

/** Lets those to a handler who may have what it gives. */
export type Guard = (handler: Handler) => Handler;

export interface Guards {
  /** Whoever may read messages, and figures about them. */
  readonly reader: Guard;
  /** Metrics hold no message, and take as long whatever is in the texts. */
  readonly monitoring: Guard;
}

export interface Handlers {
  readonly receive: Handler;
  readonly listMessages: Handler;
  readonly streamMessages: Handler;
  readonly showStats: Handler;
  readonly showArrivals: Handler;
  readonly showLive: Handler;
  readonly showReady: Handler;
  readonly showMetrics: Handler;
  /** By path: pages that hold no data. */
  readonly pages: ReadonlyMap<string, Handler>;
}

/** Both sides are one where there is no private port. */
export type Side = 'public' | 'private';

/** Each route has to say on which sides it is, and whom it lets in. */
interface PlacedRoute extends Route {
  readonly sides: readonly Side[];
  readonly guard: Guard;
}

/** Anybody: the handler itself decides whom it believes, or shows nothing worth a guard. */
const anybody: Guard = (handler) => handler;

/** The routes of the given sides, each behind its guard. */
export function routesOf(sides: readonly Side[], handlers: Handlers, { reader, monitoring }: Guards): Route[] {
  const all: PlacedRoute[] = [
    { method: 'POST', path: '/webhook', sides: ['public'], guard: anybody, handler: handlers.receive },
    { method: 'GET', path: '/messages', sides: ['private'], guard: reader, handler: handlers.listMessages },
    { method: 'GET', path: '/messages/stream', sides: ['private'], guard: reader, handler: handlers.streamMessages },
    { method: 'GET', path: '/stats', sides: ['private'], guard: reader, handler: handlers.showStats },
    { method: 'GET', path: '/stats/minutes', sides: ['private'], guard: reader, handler: handlers.showArrivals },
    { method: 'GET', path: '/health/live', sides: ['public', 'private'], guard: anybody, handler: handlers.showLive },
    { method: 'GET', path: '/health/ready', sides: ['private'], guard: anybody, handler: handlers.showReady },
    { method: 'GET', path: '/metrics', sides: ['private'], guard: monitoring, handler: handlers.showMetrics },
    ...[...handlers.pages].map(([path, handler]): PlacedRoute => ({ method: 'GET', path, sides: ['private'], guard: anybody, handler })),
  ];
  return all.filter((route) => route.sides.some((side) => sides.includes(side)))
    .map(({ method, path, guard, handler }) => ({ method, path, handler: guard(handler) }));
}
