import { connect, type Socket } from 'node:net';

const PATIENCE_MS = 5000;

/** A plain TCP connection to the service, for bytes that no HTTP client would send. */
export interface RawConnection {
  readonly socket: Socket;
  write(bytes: string | Uint8Array): void;
  /** All that came so far, as Latin-1. */
  received(): string;
  /** Resolves with all that came once the other side has closed; rejects where it does not within five seconds. */
  closed(): Promise<string>;
}

export function connectRaw(port: number): RawConnection {
  let received = '';
  const socket = connect({ port, host: '127.0.0.1' });
  const closed = new Promise<string>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`still open after ${PATIENCE_MS} ms, received: ${received}`)), PATIENCE_MS);
    socket.on('close', () => {
      clearTimeout(timer);
      resolve(received);
    });
  });
  closed.catch(() => {});
  socket.setEncoding('latin1').on('data', (chunk) => { received += String(chunk); }).on('error', () => {});
  return {
    socket,
    write: (bytes) => void socket.write(bytes),
    received: () => received,
    closed: () => closed,
  };
}

/** Sends bytes on a new connection, and returns what came back until the service closed it. */
export async function exchangeRaw(port: number, bytes: string | Uint8Array): Promise<string> {
  const connection = connectRaw(port);
  connection.write(bytes);
  const answer = await connection.closed();
  connection.socket.destroy();
  return answer;
}

/** The status codes of all answers in a stream of bytes. */
export function statusesIn(received: string): number[] {
  return [...received.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map((match) => Number(match[1]));
}
