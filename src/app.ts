/** Wires all parts together. Tests start the real thing with it: port 0 and a temporary database. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Config } from './config.ts';
import { StartRefused, StorageUnavailable, type UnavailableReason } from './errors.ts';
import type { Answered } from './http/answered.ts';
import type { DrainReport } from './http/drain.ts';
import { createListener, type HttpListener } from './http/listener.ts';
import { createRouter, type Route } from './http/router.ts';
import { describeError, type Log, type LogFields, type LogLevel } from './observe/log.ts';
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
  /** Answers what was received, then ends, within the time given or else the configured one. Never rejects. */
  stop(timeoutMs?: number): Promise<StopReport>;
}

export interface StopReport extends DrainReport {
  /** False where the storage hangs: a thread is in the middle of a statement, and the process cannot end by itself. */
  readonly storageClosed: boolean;
}

export interface AppOptions {
  readonly config: Config;
  readonly log: Log;
  /** Logs what an operator has to see whatever the level: where the service listens. */
  readonly announce: (event: string, fields: LogFields) => void;
  /** Log lines lost so far. */
  readonly droppedLogLines: () => number;
  /** The storage to use; tests hand in faulty ones. */
  readonly openStorage?: (options: SqliteStorageOptions) => Promise<Storage>;
}

/** How much of the time to stop is for connections; the rest is for the storage to close. */
const DRAIN_SHARE = 0.8;

/** Opens the database, then the port. Throws StartRefused where an operator has to mend something first. */
export async function startApp({ config, log, announce, droppedLogLines, openStorage = openSqliteStorage }: AppOptions): Promise<App> {
  const metrics = createMetrics();
  const storage = await openStorage({
    path: config.databasePath,
    queryTimeoutMs: config.queryTimeoutMs,
    now: Date.now,
    observer: { batchCommitted: metrics.batchCommitted, notice: log },
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
    onFailed: (requestId, error) => reportFailure(requestId, error, log),
  });

  await readiness.check();
  const port = await openPort(listener, config, async () => {
    await storage.close();
  });
  announce('listening', { host: config.host, port });
  readiness.watch();

  return {
    port,
    failure: storage.failure,
    async stop(timeoutMs = config.shutdownTimeoutMs) {
      readiness.drain();
      const deadline = delay(timeoutMs, false, { ref: false });
      const report = await listener.drain(timeoutMs * DRAIN_SHARE);
      readiness.stop();
      const storageClosed = await Promise.race([storage.close().then(() => true), deadline]);
      return { ...report, storageClosed };
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
    indexLag: storage.indexLag,
    ready: () => readiness.reasons().length === 0,
    openConnections,
    droppedLogLines,
    lastStoredAt: storage.lastStoredAt,
    databaseBytes: () => sizes.databaseBytes,
    walBytes: () => sizes.walBytes,
    indexBytes: () => sizes.indexBytes,
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

function reportFailure(requestId: string, error: unknown, log: Log): void {
  if (error instanceof StorageUnavailable) log('WARNING', 'read_refused', { request_id: requestId, reason: error.reason });
  else log('ERROR', 'unexpected_error', { request_id: requestId, ...describeError(error) });
}

function levelOf(status: number): LogLevel {
  if (status >= 500) return 'ERROR';
  return status >= 400 ? 'WARNING' : 'INFO';
}
