import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import type { TlsOptions } from '../../config/database-credentials.ts';
import { ConnectionFailed } from './failures.ts';
import { channelBinding } from './login.ts';
import { encodeSslRequest } from './protocol.ts';

export interface Address {
  /** A name or an address; a folder of Unix sockets where it begins with `/`. */
  readonly host: string;
  readonly port: number;
  /** Null for a Unix socket and for loopback alone: anywhere else the connection is refused. */
  readonly tls: TlsOptions | null;
}

export interface Channel {
  readonly socket: Socket;
  /** What binds a login to it; null where nothing does. */
  readonly binding: Buffer | null;
}

/** A peer that has vanished is found by the deadline of whoever waits; this is for connections on which nobody does. */
const KEEPALIVE_MS = 10_000;
const LOOPBACK = /^(?:127\.|::ffff:127\.|::1$)/;
const ACCEPTED = 'S';

const codeOf = (error: unknown) => (error instanceof Error && 'code' in error ? String(error.code) : 'closed');

/** Waits for an event of a socket. Rejects with ConnectionFailed, the socket destroyed, where it fails or closes, or `deadline` passes. */
function reached(socket: Socket, event: 'connect' | 'readable' | 'secureConnect', step: string, deadline: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (failure?: ConnectionFailed) => {
      clearTimeout(timer);
      socket.off(event, succeed).off('error', fail).off('close', fail);
      if (failure === undefined) return resolve();
      socket.destroy();
      reject(failure);
    };
    const succeed = () => settle();
    const fail = (error: unknown) => settle(new ConnectionFailed(`${step}: ${codeOf(error)}`, { cause: error }));
    const late = () => settle(new ConnectionFailed(`${step}: no answer in time`));
    const timer = setTimeout(late, Math.max(0, deadline - performance.now()));
    socket.on(event, succeed).on('error', fail).on('close', fail);
  });
}

/** An error that comes when nobody waits must not end the process. */
const withListener = <Kind extends Socket>(socket: Kind) => socket.on('error', () => {});

function refuse(socket: Socket, reason: string): never {
  socket.destroy();
  throw new ConnectionFailed(reason);
}

/** As `verify-full`: the certificate has to come from a root that is trusted and to name `host`, before anything else is sent. */
function secured(socket: Socket, host: string, { ca, identity }: TlsOptions): TLSSocket {
  try {
    return withListener(connectTls({
      socket, host, minVersion: 'TLSv1.2', ALPNProtocols: ['postgresql'],
      ...(isIP(host) === 0 && { servername: host }),
      ...(ca !== null && { ca }),
      ...(identity !== null && { cert: identity.certificate, key: identity.key }),
    }));
  } catch (error) {
    socket.destroy();
    throw new ConnectionFailed(`TLS: ${codeOf(error)}`, { cause: error });
  }
}

/** https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL */
async function secure(socket: Socket, { host, tls, deadline }: { host: string; tls: TlsOptions; deadline: number }): Promise<Channel> {
  socket.write(encodeSslRequest());
  await reached(socket, 'readable', 'asking for TLS', deadline);
  const answer: Buffer | null = socket.read();
  if (answer === null) refuse(socket, 'asking for TLS: closed');
  if (answer.toString('latin1', 0, 1) !== ACCEPTED) refuse(socket, 'the server does no TLS: set ssl = on there');
  // Bytes that came before the handshake are not from whom it authenticates (CVE-2021-23222).
  if (answer.length > 1) refuse(socket, 'somebody has put bytes before the TLS handshake');
  const encrypted = secured(socket, host, tls);
  await reached(encrypted, 'secureConnect', 'TLS', deadline);
  const certificate = encrypted.getPeerX509Certificate();
  return { socket: encrypted, binding: certificate === undefined ? null : channelBinding(certificate) };
}

/**
 * Opens a socket to a server that is authenticated or on this machine. Rejects with ConnectionFailed where that fails or is not done by
 * `deadline`, in the milliseconds of `performance.now()`; then nothing of it stays open.
 */
export async function openSocket({ host, port, tls }: Address, deadline: number): Promise<Channel> {
  const isUnix = host.startsWith('/');
  const socket = withListener(isUnix
    ? connectTcp({ path: `${host}/.s.PGSQL.${port}` })
    : connectTcp({ host, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEPALIVE_MS }));
  await reached(socket, 'connect', 'connecting', deadline);
  if (isUnix) return { socket, binding: null };
  if (tls !== null) return await secure(socket, { host, tls, deadline });
  if (!LOOPBACK.test(socket.remoteAddress ?? '')) refuse(socket, 'without TLS only a server on this machine is spoken to');
  return { socket, binding: null };
}
