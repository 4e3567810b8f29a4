/** A TCP proxy that can cut off what is behind it, as a network does that loses every packet: neither side is told. */
import { connect, createServer, type Socket } from 'node:net';
import type { Scope } from './temporary.ts';

const LOOPBACK = '127.0.0.1';

export interface Proxy {
  /** From now on nothing passes either way, and nothing is closed or refused: who comes new is taken, as by a kernel, and hears nothing. */
  cut(): void;
  /** What was held back passes. Where one side has closed meanwhile, the other learns of it. */
  heal(): void;
}

/** Listens on a loopback port, and hands on to the `target` port, until the scope ends. What is refused there is reset here. */
export async function startProxy(scope: Scope, port: number, target: number): Promise<Proxy> {
  const pairs = new Set<readonly [client: Socket, upstream: Socket]>();
  const waiting = new Set<Socket>();
  let isCut = false;

  function open(client: Socket): void {
    const upstream = connect({ port: target, host: LOOPBACK, allowHalfOpen: true });
    const pair = [client, upstream] as const;
    pairs.add(pair);
    for (const [socket, other] of [pair, [upstream, client] as const]) {
      socket.on('error', () => {}).on('close', (failed) => {
        if (isCut) return;
        pairs.delete(pair);
        if (failed) other.resetAndDestroy();
        else other.destroySoon();
      });
    }
    client.pipe(upstream).pipe(client);
  }

  // Whoever is let in while it is cut off is not read from.
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => {
    if (isCut) waiting.add(client.on('error', () => {}));
    else open(client);
  });
  scope.after(() => {
    server.close();
    for (const socket of [...waiting, ...[...pairs].flat()]) socket.destroy();
  });
  await new Promise<void>((resolve, reject) => server.on('error', reject).listen(port, LOOPBACK, resolve));

  return {
    cut() {
      isCut = true;
      for (const [client, upstream] of pairs) {
        client.unpipe(upstream).pause();
        upstream.unpipe(client).pause();
      }
    },
    heal() {
      isCut = false;
      for (const pair of pairs) {
        const [client, upstream] = pair;
        if (!client.destroyed && !upstream.destroyed) {
          client.pipe(upstream).pipe(client);
          continue;
        }
        pairs.delete(pair);
        client.destroy();
        upstream.destroy();
      }
      for (const client of waiting) open(client);
      waiting.clear();
    },
  };
}
