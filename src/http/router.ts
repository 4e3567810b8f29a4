import type { Exchange } from './exchange.ts';
import { methodNotAllowed, NOT_FOUND, type Reply } from './reply.ts';

export type Handler = (exchange: Exchange) => Reply | Promise<Reply>;

export interface Route {
  /** Matched exactly, byte for byte. */
  readonly path: string;
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly handler: Handler;
  /** True where `Allow` does not name it. */
  readonly isUnlisted?: boolean;
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
  const byPath = Map.groupBy(routes, ({ path }) => path);
  return (method, path) => {
    const found = byPath.get(path);
    if (found === undefined) return { route: UNMATCHED, handler: () => NOT_FOUND };
    const wanted = method === 'HEAD' ? 'GET' : method;
    const handler = found.find((route) => route.method === wanted)?.handler;
    return { route: path, handler: handler ?? (() => methodNotAllowed(allowedBy(found))) };
  };
}

/** The value of `Allow` (RFC 9110 section 10.2.1). */
function allowedBy(routes: readonly Route[]): string {
  return routes.filter(({ isUnlisted }) => isUnlisted !== true).map(({ method }) => (method === 'GET' ? 'GET, HEAD' : method)).join(', ');
}
