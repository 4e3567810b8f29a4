import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

const [LOWEST, BELOW] = [20_000, 32_768];
const ATTEMPTS = 100;

const isFree = (port: number) => new Promise<boolean>((resolve) => {
  const server = createServer().on('error', () => resolve(false)).listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
});

/**
 * A loopback port on which nobody listens, below those that Linux gives to connections (ip_local_port_range in ip(7)): what ends and
 * starts again on it finds it free then, too. Rejects where none was found.
 */
export async function freePort(): Promise<number> {
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    const port = randomInt(LOWEST, BELOW);
    if (await isFree(port)) return port;
  }
  throw new Error(`none of ${ATTEMPTS} ports was free`);
}
