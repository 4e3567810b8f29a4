/** Throw-away certificates, made by openssl. */
import { execFileSync, spawnSync } from 'node:child_process';
import { join } from 'node:path';

/** Paths of PEM files. */
export interface Certificate {
  readonly certificate: string;
  readonly key: string;
}

/** False where openssl is not installed. */
export const hasOpenssl = spawnSync('openssl', ['version']).error === undefined;

const EC_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] });

function pathsIn(folder: string, name: string): Certificate {
  return { certificate: join(folder, `${name}.pem`), key: join(folder, `${name}.key`) };
}

/** A certificate that it signs itself, of the loopback address, valid for `days` days: a server's, or a CA's. `algorithm`: for openssl. */
export function makeCertificate(folder: string, name: string, days = 2, algorithm: readonly string[] = EC_KEY): Certificate {
  const paths = pathsIn(folder, name);
  openssl('req', '-x509', ...algorithm, '-keyout', paths.key, '-out', paths.certificate, '-days', String(days), '-subj', `/CN=${name}`,
    '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1');
  return paths;
}

/** A certificate that a CA issued, valid for `days` days: with 0 it has expired once the second is over. */
export function issueCertificate(folder: string, name: string, ca: Certificate, days = 2): Certificate {
  const paths = pathsIn(folder, name);
  const request = join(folder, `${name}.csr`);
  openssl('req', ...EC_KEY, '-keyout', paths.key, '-out', request, '-subj', `/CN=${name}`);
  openssl('x509', '-req', '-in', request, '-CA', ca.certificate, '-CAkey', ca.key, '-CAcreateserial', '-out', paths.certificate, '-days', String(days));
  return paths;
}
