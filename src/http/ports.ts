/** The public port and, where it is set, the private one: opened, renewed and drained as one. */
import type { Config } from '../config/config.ts';
import type { Address } from '../config/settings.ts';
import type { TlsCredentials } from '../config/tls-credentials.ts';
import { StartRefused } from '../errors.ts';
import type { DrainReport } from './drain.ts';
import { createListener, type HttpListener, type ListenerOptions } from './listener.ts';
import { createRouter, type Route } from './router.ts';

/** Both are one where there is no private port. */
export type Side = 'public' | 'private';

export interface Ports {
  /** Opens them, the public one last. Throws StartRefused where one can't be; then none is open. */
  open(): Promise<OpenPorts>;
  /** Connections open on all of them. */
  openConnections(): number;
  /** See HttpListener. */
  renewTls(tls: TlsCredentials): void;
  /** See HttpListener; the sum of all. */
  drain(timeoutMs: number): Promise<DrainReport>;
}

export interface OpenPorts {
  readonly port: number;
  /** Null where there is none: then everything is on the public one. */
  readonly privatePort: number | null;
}

export type PortHooks = Pick<ListenerOptions, 'onAnswered' | 'onConnectionRefused' | 'onHandshakeFailed' | 'onFailed'>;

export function createPorts(config: Config, routesOf: (sides: readonly Side[]) => Route[], hooks: PortHooks): Ports {
  const { privateSide } = config;
  const create = (sides: readonly Side[], tls: TlsCredentials | null) =>
    createListener({ limits: config, tls, router: createRouter(routesOf(sides)), ...hooks });
  const publicListener = create(privateSide === null ? ['public', 'private'] : ['public'], config.credentials.tls);
  const privateListener = privateSide === null ? null : create(['private'], null);
  const listeners = privateListener === null ? [publicListener] : [publicListener, privateListener];

  async function drain(timeoutMs: number): Promise<DrainReport> {
    const reports = await Promise.all(listeners.map((listener) => listener.drain(timeoutMs)));
    return reports.reduce((sum, report) => ({
      drained: sum.drained + report.drained, unanswered: sum.unanswered + report.unanswered,
    }));
  }

  return {
    async open() {
      try {
        const privatePort = privateSide && privateListener && await openPort(privateListener, privateSide, 'PRIVATE_');
        return { port: await openPort(publicListener, config, ''), privatePort };
      } catch (error) {
        await drain(0);
        throw error;
      }
    },
    openConnections: () => listeners.reduce((sum, listener) => sum + listener.openConnections(), 0),
    renewTls: publicListener.renewTls,
    drain,
  };
}

/** `prefix` is what the names of its variables begin with. */
async function openPort(listener: HttpListener, { host, port }: Address, prefix: '' | 'PRIVATE_'): Promise<number> {
  try {
    return await listener.listen(host, port);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
    const [hostName, portName] = [`${prefix}HOST`, `${prefix}PORT`];
    const problems: Partial<Record<string, string>> = {
      EADDRINUSE: `${portName} ${port} on ${host} is already in use; stop what uses it or choose another`,
      EACCES: `${portName} ${port} on ${host} needs privileges that this user lacks; choose one from 1024`,
      EADDRNOTAVAIL: `${hostName} ${host} is not an address of this machine`,
      ENOTFOUND: `${hostName} ${host} cannot be resolved`,
    };
    throw new StartRefused([problems[code] ?? `${hostName} ${host} and ${portName} ${port} cannot be listened on (${code})`]);
  }
}
