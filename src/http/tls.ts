import type { Socket } from 'node:net';
import { type SecureContextOptions, TLSSocket } from 'node:tls';
import type { TlsCredentials } from '../config/tls-credentials.ts';

/** RFC 9325 section 3.1.1: nothing before TLS 1.2. */
export function secureContextOf({ certificate, key, clientCa }: TlsCredentials): SecureContextOptions {
  return { cert: certificate, key, minVersion: 'TLSv1.2', ...(clientCa !== null && { ca: clientCa }) };
}

export type ClientCertificateFault = 'missing' | 'untrusted' | 'expired';

/**
 * What is wrong with the certificate that a client showed in its handshake, or in that of the session that it resumed; null where the
 * configured CA issued it. `now` in milliseconds since 1970: it may have expired since, or not be valid yet.
 */
export function clientCertificateFault(socket: Socket, now: number): ClientCertificateFault | null {
  const certificate = socket instanceof TLSSocket ? socket.getPeerX509Certificate() : undefined;
  if (!(socket instanceof TLSSocket) || certificate === undefined) return 'missing';
  const isCurrent = certificate.validFromDate.getTime() <= now && now <= certificate.validToDate.getTime();
  if (!isCurrent) return 'expired';
  return socket.authorized ? null : 'untrusted';
}
