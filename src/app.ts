/** Wires all parts together. Tests start the real thing with it: port 0 and a temporary database. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Config } from './config/config.ts';
import type { Credentials } from './config/credentials.ts';
import type { Reading } from './config/environment.ts';
import { StorageUnavailable, type UnavailableReason } from './errors.ts';
import type { Answered } from './http/answered.ts';
import type { DrainReport } from './http/drain.ts';
import { createPorts, type OpenPorts, type Ports } from './http/ports.ts';
import { createBackground } from './observe/background.ts';
import { describeError, type Log, type LogFields, type LogLevel } from './observe/log.ts';
import { createMetrics, type Metrics } from './observe/metrics.ts';
import { exposeProcess } from './observe/process-metrics.ts';
import { createRefusals, type Refusals } from './observe/refusals.ts';
import { createReadiness, type Readiness } from './operations/readiness.ts';
import { createReload } from './operations/reload.ts';
import { createShowMetrics, hideMetrics } from './operations/show-metrics.ts';
import { exposeState } from './operations/state-metrics.ts';
import { createRoutes } from './routes.ts';
import { openStorage as openConfiguredStorage } from './storage/open.ts';
import type { Storage } from './storage/storage.ts';
import { createStreamHub, type StreamHub } from './stream/hub.ts';

export interface App extends OpenPorts {
  /** Resolves when the service can never acknowledge again and has to be replaced; otherwise never. */
  readonly failure: Promise<UnavailableReason>;
  /** Takes credentials that were read anew, or keeps all of the old ones where they have a problem. No request is lost for it. */
  reload(reading: Reading<Credentials>): void;
  /**
   * Goes on for the configured delay while it is not ready, then answers what was received and ends. With a time given it ends within
   * that, without a delay. Never rejects.
   */
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
  readonly openStorage?: typeof openConfiguredStorage;
}

const MS_PER_DAY = 24 * 60 * 60 * 1000;
/** How much of the time to stop is for connections; the rest is for the storage to close. */
const DRAIN_SHARE = 0.8;
/** Longest time for them where a time is given, in milliseconds: nothing that they wait for may ever come then. */
const URGENT_DRAIN_MS = 800;

/** Opens the database, then the ports. Throws StartRefused where an operator has to mend something first. */
export async function startApp({ config, log, announce, droppedLogLines, openStorage = openConfiguredStorage }: AppOptions): Promise<App> {
  let { credentials } = config;
  const metrics = createMetrics();
  const refusals = createRefusals(Date.now);
  const background = createBackground(log);
  let wakeStreams = () => {};
  const storage = await openStorage({
    config, credentials: () => credentials.database,
    queryTimeoutMs: config.queryTimeoutMs,
    retention: retentionOf(config),
    now: Date.now,
    observer: {
      notice: log, failing: background.failing, failedOver: metrics.failedOver, replicationCut: metrics.replicationCut,
      arrived: () => wakeStreams(),
      batchCommitted(messages, seconds) {
        metrics.batchCommitted(messages, seconds);
        wakeStreams();
      },
    },
  });
  const hub = createStreamHub({ ...config, storage, log, metrics });
  wakeStreams = hub.wake;
  const readiness = createReadiness(credentials.webhook !== null, storage, log);
  const showMetrics = config.metricsEnabled ? createShowMetrics(metrics.registry, [
    exposeProcess(metrics.registry),
    exposeState(metrics.registry, {
      storage, background, readiness, droppedLogLines, credentials: () => credentials,
      openConnections: () => ports.openConnections(), openStreams: hub.size,
    }),
  ]) : hideMetrics;
  const routesOf = createRoutes({
    config, credentials: () => credentials, storage, hub, background, readiness, metrics, refusals, showMetrics, log,
    publicPort: () => open.port,
  });
  const ports = createPorts(config, routesOf, {
    onAnswered: (answered) => reportAnswered(answered, readiness.isDraining(), { log, metrics, refusals }),
    onConnectionRefused: metrics.connectionRefused,
    onHandshakeFailed: metrics.handshakeFailed,
    onFailed: (requestId, error) => reportFailure(requestId, error, log),
  });

  await readiness.check();
  const open = await openOrClose(ports, storage);
  announce('listening', describePorts(config, open));
  readiness.watch();

  return {
    ...open,
    failure: storage.failure,
    reload: createReload({
      log, metrics,
      take(renewed) {
        credentials = renewed;
        hub.recheck();
        if (renewed.tls !== null) ports.renewTls(renewed.tls);
      },
    }),
    stop: (timeoutMs) => stop({ config, readiness, hub, ports, storage }, timeoutMs),
  };
}

const retentionOf = ({ retentionDays, dedupDays }: Config) =>
  ({ keepMs: retentionDays === null ? null : retentionDays * MS_PER_DAY, rememberMs: dedupDays * MS_PER_DAY });

interface StoppedParts {
  readonly readiness: Readiness;
  readonly storage: Storage;
  readonly config: Config;
  readonly hub: Pick<StreamHub, 'close'>;
  readonly ports: Ports;
}

async function stop({ config, readiness, hub, ports, storage }: StoppedParts, givenMs?: number): Promise<StopReport> {
  readiness.drain();
  if (givenMs === undefined) await Promise.race([delay(config.shutdownDelayMs, undefined, { ref: false }), storage.failure]);
  hub.close();
  const timeoutMs = givenMs ?? config.shutdownTimeoutMs;
  const deadline = delay(timeoutMs, false, { ref: false });
  const drainMs = timeoutMs * DRAIN_SHARE;
  const report = await ports.drain(givenMs === undefined ? drainMs : Math.min(drainMs, URGENT_DRAIN_MS));
  readiness.stop();
  const storageClosed = await Promise.race([storage.close().then(() => true), deadline]);
  return { ...report, storageClosed };
}

async function openOrClose(ports: Ports, storage: Storage): Promise<OpenPorts> {
  try {
    return await ports.open();
  } catch (error) {
    await storage.close();
    throw error;
  }
}

function describePorts({ host, tls, privateSide }: Config, { port, privatePort }: OpenPorts): LogFields {
  return { host, port, tls: tls !== null, ...(privateSide && { private_host: privateSide.host, private_port: privatePort }) };
}

interface Observers {
  readonly log: Log;
  readonly metrics: Metrics;
  readonly refusals: Refusals;
}

function reportAnswered(answered: Answered, isDraining: boolean, { log, metrics, refusals }: Observers): void {
  const { requestId, method, route, status, refusal, latencyMs, remoteAddress } = answered;
  if (status !== null) metrics.requestAnswered(method, route, status, latencyMs);
  if (refusal !== null) {
    metrics.requestRefused(refusal);
    refusals.add({ requestId, status, result: 'refused', reason: refusal, remoteAddress });
  }
  log(levelOf(status, isDraining), 'request', {
    request_id: requestId,
    method,
    path: route,
    status,
    latency_ms: latencyMs === null ? null : Math.round(latencyMs * 1000) / 1000,
    ...(refusal !== null && { reason: refusal }),
    ...((status === null || status >= 400) && { remote_address: remoteAddress }),
  });
}

function reportFailure(requestId: string, error: unknown, log: Log): void {
  if (error instanceof StorageUnavailable) log('WARNING', 'read_refused', { request_id: requestId, reason: error.reason });
  else log('ERROR', 'unexpected_error', { request_id: requestId, ...describeError(error) });
}

function levelOf(status: number | null, isDraining: boolean): LogLevel {
  if (status === null) return 'WARNING';
  // What an orderly end refuses is sent again, to the next process.
  if (status >= 500 && !(status === 503 && isDraining)) return 'ERROR';
  return status >= 400 ? 'WARNING' : 'INFO';
}
