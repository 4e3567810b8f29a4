import type { Config } from './config.ts';
import type { Credentials } from './credentials.ts';

/** What an operator should know of a configuration: each guard that is off, by name, and what is unwise. `now`: milliseconds since 1970. */
export function warningsOf(config: Config, now: number): string[] {
  return [...guardsOff(config), ...credentialWarnings(config.credentials, now)];
}

/** What is accepted and yet unwise about credentials, in words for an operator. `now`: milliseconds since 1970. */
export function credentialWarnings({ warnings, tls }: Credentials, now: number): string[] {
  const isExpired = tls !== null && tls.expiresAt < now;
  return isExpired ? [...warnings, 'TLS_CERT_FILE has expired: senders will refuse to connect'] : [...warnings];
}

function guardsOff({ credentials, signatureSchemes, privateSide, tls, metricsEnabled }: Config): string[] {
  const guards: readonly [isOff: boolean, warning: string][] = [
    [credentials.webhook === null, 'WEBHOOK_SECRET is not set: no message will be accepted'],
    [signatureSchemes.includes('x-signature'),
      'SIGNATURE_SCHEMES has x-signature, which has no expiry: a recorded request can be sent again at any time'],
    [credentials.readToken === null, 'READ_TOKEN is not set: whoever reaches the port reads the messages'],
    [metricsEnabled && credentials.metricsToken === null, 'METRICS_TOKEN is not set: whoever reaches the port reads the metrics'],
    [privateSide === null, 'PRIVATE_PORT is not set: reading and metrics are on the port of the webhook'],
    [tls === null, 'TLS_CERT_FILE is not set: messages and tokens travel unencrypted, unless a proxy in front encrypts them'],
    [tls?.requiresClientCertificate !== true, 'TLS_CLIENT_CA_FILE is not set: no client certificate is asked for'],
  ];
  return guards.filter(([isOff]) => isOff).map(([, warning]) => warning);
}
