/**
 * Asks the service in the same container whether it is ready: exit status 0 where it is, 1 where it is not. For images
 * without a shell. Reads the same environment as the service.
 */
import { get } from 'node:http';
import { readConfig } from './config.ts';

const PATIENCE_MS = 2000;

/** A service that listens on every address is asked on the loopback one. */
function reachable(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1';
  return host === '::' ? '::1' : host;
}

const reading = readConfig(process.env);
process.exitCode = 1;
if (reading.valid) {
  const { host, port } = reading.config;
  get({ host: reachable(host), port, path: '/health/ready', signal: AbortSignal.timeout(PATIENCE_MS) }, (response) => {
    process.exitCode = response.statusCode === 200 ? 0 : 1;
    response.resume();
  }).on('error', () => {});
}
