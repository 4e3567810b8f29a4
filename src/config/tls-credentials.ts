import type { Environment } from './environment.ts';
import { checkAuthorities, checkIdentity, type Identity } from './pem.ts';

/** What the public port needs for TLS, all in PEM. */
export interface TlsCredentials extends Identity {
  /** Who must have issued a client's certificate; null where none is asked for. */
  readonly clientCa: string | null;
  /** When the server's certificate expires, in milliseconds since 1970. */
  readonly expiresAt: number;
}

const NAMES: Identity = { certificate: 'TLS_CERT_FILE', key: 'TLS_KEY_FILE' };

/** Reads the files of TLS_CERT_FILE, TLS_KEY_FILE and TLS_CLIENT_CA_FILE. Null with a problem where they do not serve. */
export function readTlsCredentials(
  environment: Environment, { requiresClientCertificate }: { readonly requiresClientCertificate: boolean },
): TlsCredentials | null {
  const certificate = environment.file('TLS_CERT_FILE')?.toString() ?? null;
  const key = environment.file('TLS_KEY_FILE')?.toString() ?? null;
  const clientCa = requiresClientCertificate ? environment.file('TLS_CLIENT_CA_FILE')?.toString() ?? null : null;
  if (certificate === null || key === null || (requiresClientCertificate && clientCa === null)) return null;

  const refuse = (problem: string) => {
    environment.problems.push(problem);
    return null;
  };
  const parsed = checkIdentity({ certificate, key }, NAMES, refuse);
  if (parsed === null || (clientCa !== null && checkAuthorities(clientCa, 'TLS_CLIENT_CA_FILE', refuse) === null)) return null;
  return { certificate, key, clientCa, expiresAt: parsed.validToDate.getTime() };
}
