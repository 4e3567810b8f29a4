import type { Exchange } from './exchange.ts';
import { methodNotAllowed, NOT_FOUND, type Reply } from './reply.ts';

export type Handler = (exchange: Exchange) => Reply | Promise<Reply>;

export interface Route {
  /** Matched exactly, byte for byte. */
  readonly path: string;
  readonly method: 'GET' | 'POST';
  readonly handler: Handler;
}

/** How a route is named in the log and in metrics where no route matches: a closed set, whatever is asked. */
export const UNMATCHED = '(unmatched)';

export interface Match {
  /** The route's path, or UNMATCHED. */
  readonly route: string;
  readonly handler: Handler;
}

export type Router = (method: string, path: string) => Match;

/** Finds the handler of a request. HEAD goes where GET does; another method of a known path is 405 with `Allow`. */
export function createRouter(routes: readonly Route[]): Router {
  const byPath = new Map(routes.map((route) => [route.path, route]));
  return (method, path) => {
    const route = byPath.get(path);
    if (route === undefined) return { route: UNMATCHED, handler: () => NOT_FOUND };
    const matches = method === route.method || (method === 'HEAD' && route.method === 'GET');
    const allow = route.method === 'GET' ? 'GET, HEAD' : route.method;
    return { route: path, handler: matches ? route.handler : () => methodNotAllowed(allow) };
  };
}
