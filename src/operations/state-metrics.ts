import type { Credentials } from '../config/credentials.ts';
import { BACKGROUND_STEPS, type Background } from '../observe/background.ts';
import type { Registry } from '../observe/prometheus.ts';
import type { Storage, StorageSizes } from '../storage/storage.ts';
import { readVersion } from '../version.ts';
import type { Readiness } from './readiness.ts';

export interface ExposedParts {
  readonly storage: Storage;
  readonly background: Pick<Background, 'isFailing'>;
  readonly readiness: Pick<Readiness, 'reasons'>;
  readonly credentials: () => Credentials;
  readonly droppedLogLines: () => number;
  readonly openConnections: () => number;
  readonly openStreams: () => number;
}

const MS_PER_SECOND = 1000;
const MS_PER_DAY = 24 * 60 * 60 * MS_PER_SECOND;

/**
 * Adds the metrics that are read from the service's state whenever Prometheus asks; what is not known then is not shown. Returns what
 * brings those up to date that have to be waited for.
 */
export function exposeState(registry: Registry, parts: ExposedParts): () => Promise<void> {
  const { storage, background, readiness, credentials, droppedLogLines, openConnections, openStreams } = parts;
  let sizes: Partial<StorageSizes> = {};
  registry.gauge('webhook_inbox_build_info', 'Versions of the service and of what it runs on; always 1.', () => 1, {
    version: readVersion(), node_version: process.versions.node, sqlite_version: process.versions['sqlite'] ?? '',
  });
  registry.gauge('webhook_inbox_ready', '1 where /health/ready answers 200, else 0.', () => Number(readiness.reasons().length === 0));
  registry.gauge('storage_connected', '1 where the database is open, or a PostgreSQL server that takes writes is connected, else 0.',
    () => Number(storage.engine().isConnected));
  registry.gauge('tls_certificate_expiry_days', 'Days until the server certificate expires.', () => {
    const at = credentials().tls?.expiresAt;
    return at === undefined ? undefined : (at - Date.now()) / MS_PER_DAY;
  });
  registry.gauge('http_connections_open', 'Open connections.', openConnections);
  registry.gauge('message_streams_open', 'Readers of the live stream.', openStreams);
  registry.gauge('storage_queue_depth', 'Messages accepted for storing and not yet answered.', storage.queueDepth);
  registry.gauge('storage_reads_waiting', 'Reads that wait for a reader thread.', storage.readsWaiting);
  registry.gauge('storage_index_lag_messages', 'Stored messages that are not in the read index yet.', storage.indexLag);
  registry.gauge('storage_index_ready', '1 where reads can use the read index, 0 while it is being made or cannot be written.',
    () => Number(storage.degraded().length === 0));
  registry.gauges('storage_background_failing', 'What is done in the background: 1 where it fails and is tried again, else 0.', 'step',
    BACKGROUND_STEPS, (step) => Number(background.isFailing(step)));
  registry.gauge('message_last_stored_timestamp_seconds', 'When the last message was stored.', () => {
    const at = storage.lastStoredAt();
    return at === undefined ? undefined : at / MS_PER_SECOND;
  });
  registry.gauge('database_size_bytes', 'Size of the database file.', () => sizes.databaseBytes);
  registry.gauge('database_wal_size_bytes', 'Size of the write-ahead log.', () => sizes.walBytes);
  registry.gauge('database_index_size_bytes', 'Size of the read index, with its log.', () => sizes.indexBytes);
  registry.gauge('database_disk_free_bytes', 'Free space on the disk that holds the database.', () => sizes.freeDiskBytes);
  registry.counterOf('log_lines_dropped_total', 'Log lines lost because stdout was closed or too slow.', droppedLogLines);
  return async () => {
    sizes = await storage.sizes();
  };
}
