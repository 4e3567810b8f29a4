import type { Config } from './config.ts';
import type { Credentials } from './credentials.ts';

/** A guard of the configuration, by the name of the variable that turns it on. */
export interface Guard {
  readonly name: string;
  readonly isOn: boolean;
  /** What it is off for, in words for an operator. */
  readonly warning: string;
}

/** What an operator should know of a configuration: each guard that is off, by name, and what is unwise. `now`: milliseconds since 1970. */
export function warningsOf(config: Config, now: number): string[] {
  return [...guardsOf(config).filter(({ isOn }) => !isOn).map(({ warning }) => warning), ...credentialWarnings(config.credentials, now)];
}

/** What is accepted and yet unwise about credentials, in words for an operator. `now`: milliseconds since 1970. */
export function credentialWarnings({ warnings, tls }: Credentials, now: number): string[] {
  const isExpired = tls !== null && tls.expiresAt < now;
  return isExpired ? [...warnings, 'TLS_CERT_FILE has expired: senders will refuse to connect'] : [...warnings];
}

export function guardsOf({ credentials, signatureSchemes, privateSide, tls, metricsEnabled }: Config): Guard[] {
  const guard = (name: string, isOn: boolean, problem: string): Guard => ({ name, isOn, warning: `${name} ${problem}` });
  return [
    guard('WEBHOOK_SECRET', credentials.webhook !== null, 'is not set: no message will be accepted'),
    guard('SIGNATURE_SCHEMES', !signatureSchemes.includes('x-signature'),
      'has x-signature, which has no expiry: a recorded request can be sent again at any time'),
    guard('READ_TOKEN', credentials.readToken !== null, 'is not set: whoever reaches the port reads the messages'),
    guard('METRICS_TOKEN', !metricsEnabled || credentials.metricsToken !== null, 'is not set: whoever reaches the port reads the metrics'),
    guard('PRIVATE_PORT', privateSide !== null, 'is not set: reading and metrics are on the port of the webhook'),
    guard('TLS_CERT_FILE', tls !== null,
      'is not set: messages and tokens travel unencrypted, unless a proxy in front encrypts them'),
    guard('TLS_CLIENT_CA_FILE', tls?.requiresClientCertificate === true, 'is not set: no client certificate is asked for'),
  ];
}
