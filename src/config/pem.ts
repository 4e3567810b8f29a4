import { createPrivateKey, X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';

/** Takes a problem of the configuration. */
type Refuse = (problem: string) => null;

export interface Identity {
  /** In PEM, its owner's first, then what leads from it to its root. */
  readonly certificate: string;
  /** In PEM. */
  readonly key: string;
}

/** The first certificate, or null with a problem where the two do not serve; `names` are what gave them, for an operator. */
export function checkIdentity({ certificate, key }: Identity, names: Identity, refuse: Refuse): X509Certificate | null {
  const parsed = attempt(() => new X509Certificate(certificate));
  if (parsed === null) return refuse(`${names.certificate} must be a file of PEM certificates, that of the key first`);
  const privateKey = attempt(() => createPrivateKey(key));
  if (privateKey === null) return refuse(`${names.key} must be the file of a PEM private key without a passphrase`);
  if (!parsed.checkPrivateKey(privateKey)) return refuse(`${names.key} must be the key of the first certificate in ${names.certificate}`);
  const context = attempt(() => createSecureContext({ cert: certificate, key }));
  if (context === null) return refuse(`${names.certificate} and ${names.key} cannot be used by OpenSSL: is the key too short?`);
  return parsed;
}

/** Those who may issue the other side's certificate, or null with a problem; `name` is what gave them, for an operator. */
export function checkAuthorities(certificates: string, name: string, refuse: Refuse): string | null {
  const parsed = attempt(() => new X509Certificate(certificates));
  return parsed === null ? refuse(`${name} must be a file of PEM certificates`) : certificates;
}

function attempt<Value>(make: () => Value): Value | null {
  try {
    return make();
  } catch {
    return null;
  }
}
