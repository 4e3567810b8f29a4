/**
 * Asks the service in the same container whether it is ready: exit status 0 where it is, 1 where it is not. For images
 * without a shell. Reads the settings of the same environment, and none of its secrets.
 */
import { get } from 'node:http';
import { get as getSecurely } from 'node:https';
import { readEnvironment } from './config/environment.ts';
import { readSettings, type Settings } from './config/settings.ts';

const PATIENCE_MS = 2000;

/** A service that listens on every address is asked on the loopback one. */
function reachable(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1';
  return host === '::' ? '::1' : host;
}

function ask({ host, port, privateSide, tls }: Settings): void {
  const address = privateSide ?? { host, port };
  const isSecure = privateSide === null && tls !== null;
  // It asks itself, by an address that no certificate is made for, and sends nothing.
  const options = { host: reachable(address.host), port: address.port, path: '/health/ready', rejectUnauthorized: false };
  (isSecure ? getSecurely : get)({ ...options, signal: AbortSignal.timeout(PATIENCE_MS) }, (response) => {
    process.exitCode = response.statusCode === 200 ? 0 : 1;
    response.resume();
  }).on('error', () => {});
}

process.exitCode = 1;
const reading = readEnvironment(process.env, readSettings);
if (reading.valid) ask(reading.value);
