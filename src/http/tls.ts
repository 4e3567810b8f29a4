import type { Socket } from 'node:net';
import { type SecureContextOptions, TLSSocket } from 'node:tls';
import type { TlsCredentials } from '../config/tls-credentials.ts';

/** RFC 9325 section 3.1.1: nothing before TLS 1.2. */
export function secureContextOf({ certificate, key, clientCa }: TlsCredentials): SecureContextOptions {
  return { cert: certificate, key, minVersion: 'TLSv1.2', ...(clientCa !== null && { ca: clientCa }) };
}

export type ClientCertificateFault = 'missing' | 'untrusted';

/** What is wrong with the certificate that a client showed in its handshake; null where the configured CA issued it and it is valid. */
export function clientCertificateFault(socket: Socket): ClientCertificateFault | null {
  if (!(socket instanceof TLSSocket) || socket.getPeerX509Certificate() === undefined) return 'missing';
  return socket.authorized ? null : 'untrusted';
}
