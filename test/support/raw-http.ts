import { connect, type Socket } from 'node:net';
import type { Scope } from './temporary.ts';
import { PATIENCE_MS } from './wait.ts';

/** A plain TCP connection to the service, for bytes that no HTTP client would send. */
export interface RawConnection {
  readonly socket: Socket;
  write(bytes: string | Uint8Array): void;
  /** All that came so far, as Latin-1. */
  received(): string;
  /** Resolves with all that came once the connection is closed; rejects where that takes longer than `PATIENCE_MS` from now. */
  closed(): Promise<string>;
}

/**
 * Connects to a port of this machine, until the other side closes the connection or the scope ends. `localAddress`: another loopback
 * address is another client.
 */
export function connectRaw(scope: Scope, port: number, localAddress = '127.0.0.1'): RawConnection {
  const connection = openRaw(port, localAddress);
  scope.after(() => void connection.socket.destroy());
  return connection;
}

function openRaw(port: number, localAddress = '127.0.0.1'): RawConnection {
  let received = '';
  const socket = connect({ port, host: '127.0.0.1', localAddress });
  socket.setEncoding('latin1').on('data', (chunk) => { received += String(chunk); }).on('error', () => {});
  return {
    socket,
    write: (bytes) => void socket.write(bytes),
    received: () => received,
    closed: () => new Promise((resolve, reject) => {
      if (socket.closed) return resolve(received);
      const timer = setTimeout(() => reject(new Error(`still open after ${PATIENCE_MS} ms, received: ${received}`)), PATIENCE_MS);
      socket.once('close', () => {
        clearTimeout(timer);
        resolve(received);
      });
    }),
  };
}

/** Sends bytes on a new connection, and returns what came back until the service closed it. */
export async function exchangeRaw(port: number, bytes: string | Uint8Array): Promise<string> {
  const connection = openRaw(port);
  try {
    connection.write(bytes);
    return await connection.closed();
  } finally {
    connection.socket.destroy();
  }
}

/** The status codes of all answers in a stream of bytes. */
export function statusesIn(received: string): number[] {
  return [...received.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map((match) => Number(match[1]));
}
