import type { Socket } from 'node:net';

/** To llhttp, as the answer to the head of a request: what follows is of another protocol, and not to be parsed. */
const NOT_HTTP = 2;

/**
 * From now on node:http parses no more of what it has read of a socket, up to 64 KB; what is left of it is lost. So the
 * connection must take no more requests.
 *
 * It has nothing documented for this: a socket that is paused or destroyed has all of them made, over a thousand of some kilobytes
 * each, and those of one that is destroyed go only after all that is to be read in that turn of the event loop. `parser` and
 * `onIncoming`, which node:http calls with each request, are no part of its interface: where they are missing, it parses on, and
 * whoever calls this gets the other requests, as without it.
 */
export function stopParsing(socket: Socket): void {
  const parser: unknown = Reflect.get(socket, 'parser');
  if (takesRequests(parser)) parser.onIncoming = () => NOT_HTTP;
}

const takesRequests = (parser: unknown): parser is { onIncoming: () => number } =>
  typeof parser === 'object' && parser !== null && 'onIncoming' in parser && typeof parser.onIncoming === 'function';
