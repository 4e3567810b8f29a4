/** Wires all parts together. Tests start the real thing with it: port 0 and a temporary database. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Config } from './config.ts';
import { StartRefused, type UnavailableReason } from './errors.ts';
import type { Answered } from './http/answered.ts';
import type { DrainReport } from './http/drain.ts';
import { createListener, type HttpListener } from './http/listener.ts';
import { createRouter, type Route } from './http/router.ts';
import { describeError, type Log, type LogLevel } from './observe/log.ts';
import { createMetrics, exposeState, type Metrics } from './observe/metrics.ts';
import { exposeProcess } from './observe/process-metrics.ts';
import { createShowReady, showLive } from './operations/health.ts';
import { createReadiness, type Readiness } from './operations/readiness.ts';
import { createShowMetrics, hideMetrics } from './operations/show-metrics.ts';
import { createListMessages } from './query/messages.ts';
import { createShowStats } from './query/stats.ts';
import { openSqliteStorage, type SqliteStorageOptions } from './storage/sqlite/adapter.ts';
import type { Storage, StorageSizes } from './storage/storage.ts';
import { readVersion } from './version.ts';
import { createReceive } from './webhook/receive.ts';

export interface App {
  /** The port that is listened on. */
  readonly port: number;
  /** Resolves when the service can never acknowledge again and has to be replaced; otherwise never. */
  readonly failure: Promise<UnavailableReason>;
  /** Answers what was received, then ends, within the configured time. Never rejects. */
  stop(): Promise<DrainReport>;
}

export interface AppOptions {
  readonly config: Config;
  readonly log: Log;
  /** Log lines lost so far. */
  readonly droppedLogLines: () => number;
  /** The storage to use; tests hand in faulty ones. */
  readonly openStorage?: (options: SqliteStorageOptions) => Promise<Storage>;
}

/** Opens the database, then the port. Throws StartRefused where an operator has to mend something first. */
export async function startApp({ config, log, droppedLogLines, openStorage = openSqliteStorage }: AppOptions): Promise<App> {
  const metrics = createMetrics();
  const storage = await openStorage({
    path: config.databasePath,
    queryTimeoutMs: config.queryTimeoutMs,
    now: Date.now,
    observer: { batchCommitted: metrics.batchCommitted, notice: (event, fields) => log('INFO', event, fields) },
  });
  const readiness = createReadiness(config.secret !== null, storage, log);
  const showMetrics = config.metricsEnabled
    ? exposeMetrics({ metrics, storage, readiness, droppedLogLines, openConnections: () => listener.openConnections() })
    : hideMetrics;
  const routes: Route[] = [
    { method: 'POST', path: '/webhook', handler: createReceive({ ...config, storage, log, metrics }) },
    { method: 'GET', path: '/messages', handler: createListMessages(storage) },
    { method: 'GET', path: '/stats', handler: createShowStats(storage) },
    { method: 'GET', path: '/health/live', handler: showLive },
    { method: 'GET', path: '/health/ready', handler: createShowReady(readiness) },
    { method: 'GET', path: '/metrics', handler: showMetrics },
  ];
  const listener = createListener({
    limits: config,
    router: createRouter(routes),
    onAnswered: (answered) => reportAnswered(answered, log, metrics),
    onConnectionRefused: metrics.connectionRefused,
    onUnexpected: (requestId, error) => log('ERROR', 'unexpected_error', { request_id: requestId, ...describeError(error) }),
  });

  await readiness.start();
  const port = await openPort(listener, config, async () => {
    readiness.stop();
    await storage.close();
  });
  log('INFO', 'listening', { host: config.host, port });

  return {
    port,
    failure: storage.failure,
    async stop() {
      readiness.drain();
      const deadline = delay(config.shutdownTimeoutMs, undefined, { ref: false });
      const report = await listener.drain(config.shutdownTimeoutMs);
      readiness.stop();
      await Promise.race([storage.close(), deadline]);
      return report;
    },
  };
}

async function openPort(listener: HttpListener, { host, port }: Config, undo: () => Promise<void>): Promise<number> {
  try {
    return await listener.listen(host, port);
  } catch (error) {
    await undo();
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
    const problems: Partial<Record<string, string>> = {
      EADDRINUSE: `PORT ${port} on ${host} is already in use; stop what uses it or choose another`,
      EACCES: `PORT ${port} on ${host} needs privileges that this user lacks; choose one from 1024`,
      EADDRNOTAVAIL: `HOST ${host} is not an address of this machine`,
      ENOTFOUND: `HOST ${host} cannot be resolved`,
    };
    throw new StartRefused([problems[code] ?? `HOST ${host} and PORT ${port} cannot be listened on (${code})`]);
  }
}

interface ExposedParts {
  readonly metrics: Metrics;
  readonly storage: Storage;
  readonly readiness: Readiness;
  readonly droppedLogLines: () => number;
  readonly openConnections: () => number;
}

function exposeMetrics({ metrics, storage, readiness, droppedLogLines, openConnections }: ExposedParts) {
  let sizes: Partial<StorageSizes> = {};
  exposeState(metrics.registry, {
    version: readVersion(),
    sqliteVersion: storage.engineVersion,
    queueDepth: storage.queueDepth,
    readsWaiting: storage.readsWaiting,
    ready: () => readiness.reasons().length === 0,
    openConnections,
    droppedLogLines,
    lastStoredAt: storage.lastStoredAt,
    databaseBytes: () => sizes.databaseBytes,
    walBytes: () => sizes.walBytes,
    freeDiskBytes: () => sizes.freeDiskBytes,
  });
  const refreshProcess = exposeProcess(metrics.registry);
  const refreshSizes = async () => {
    sizes = await storage.sizes();
  };
  return createShowMetrics(metrics.registry, () => Promise.all([refreshProcess(), refreshSizes()]));
}

function reportAnswered(answered: Answered, log: Log, metrics: Metrics): void {
  const { requestId, method, route, status, latencyMs, remoteAddress } = answered;
  metrics.requestAnswered(method, route, status, latencyMs);
  log(levelOf(status), 'request', {
    request_id: requestId,
    method,
    path: route,
    status,
    latency_ms: latencyMs === null ? null : Math.round(latencyMs * 1000) / 1000,
    ...(status >= 400 && { remote_address: remoteAddress }),
  });
}

function levelOf(status: number): LogLevel {
  if (status >= 500) return 'ERROR';
  return status >= 400 ? 'WARNING' : 'INFO';
}
