import { createPrivateKey, X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import type { Environment } from './environment.ts';

/** What the public port needs for TLS, all in PEM. */
export interface TlsCredentials {
  /** The server's certificate first, then what leads from it to its root. */
  readonly certificate: string;
  readonly key: string;
  /** Who must have issued a client's certificate; null where none is asked for. */
  readonly clientCa: string | null;
  /** When the server's certificate expires, in milliseconds since 1970. */
  readonly expiresAt: number;
}

/** Reads the files of TLS_CERT_FILE, TLS_KEY_FILE and TLS_CLIENT_CA_FILE. Null with a problem where they do not serve. */
export function readTlsCredentials(
  environment: Environment, { requiresClientCertificate }: { readonly requiresClientCertificate: boolean },
): TlsCredentials | null {
  const refuse = (problem: string) => {
    environment.problems.push(problem);
    return null;
  };
  const certificate = environment.file('TLS_CERT_FILE')?.toString() ?? null;
  const key = environment.file('TLS_KEY_FILE')?.toString() ?? null;
  const clientCa = requiresClientCertificate ? environment.file('TLS_CLIENT_CA_FILE')?.toString() ?? null : null;
  if (certificate === null || key === null || (requiresClientCertificate && clientCa === null)) return null;

  const parsed = attempt(() => new X509Certificate(certificate));
  if (parsed === null) return refuse('TLS_CERT_FILE must be a file of PEM certificates, the server\'s first');
  const privateKey = attempt(() => createPrivateKey(key));
  if (privateKey === null) return refuse('TLS_KEY_FILE must be the file of a PEM private key without a passphrase');
  if (!parsed.checkPrivateKey(privateKey)) return refuse('TLS_KEY_FILE must be the key of the first certificate in TLS_CERT_FILE');
  if (clientCa !== null && attempt(() => new X509Certificate(clientCa)) === null) {
    return refuse('TLS_CLIENT_CA_FILE must be a file of PEM certificates');
  }
  const context = attempt(() => createSecureContext({ cert: certificate, key, ...(clientCa !== null && { ca: clientCa }) }));
  if (context === null) return refuse('TLS_CERT_FILE and TLS_KEY_FILE cannot be used by OpenSSL: is the key too short?');
  return { certificate, key, clientCa, expiresAt: parsed.validToDate.getTime() };
}

function attempt<Value>(make: () => Value): Value | null {
  try {
    return make();
  } catch {
    return null;
  }
}
