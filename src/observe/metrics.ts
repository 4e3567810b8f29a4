import { ROTATION_KEYS, type RotationKey } from '../rotation.ts';
import { createRegistry, type Registry } from './prometheus.ts';

/** Every metric of what happens. Those of the state are in `operations/state-metrics.ts`, those of the process in `process-metrics.ts`. */

/** How a webhook request ended (http/README.md, POST /webhook). */
export const WEBHOOK_RESULTS = [
  'ok', 'unavailable', 'invalid_client_certificate', 'unsupported_encoding', 'payload_too_large', 'aborted',
  'invalid_signature', 'invalid_payload',
] as const;
export type WebhookResult = (typeof WEBHOOK_RESULTS)[number];

const SIGNATURE_FAULTS = ['missing', 'malformed', 'mismatch', 'timestamp'] as const;
export type SignatureFault = (typeof SIGNATURE_FAULTS)[number];

const REQUEST_REFUSALS = [
  'malformed', 'incomplete', 'timed_out', 'head_too_large', 'unsupported_version', 'invalid_host', 'invalid_target',
  'invalid_transfer_encoding', 'unknown_expectation', 'connect',
] as const;
/** Why a request was refused before it had a route. */
export type RequestRefusal = (typeof REQUEST_REFUSALS)[number];

const RELOAD_OUTCOMES = ['ok', 'failed'] as const;
/** Whether a reload took the new credentials, or kept the old ones. */
export type ReloadOutcome = (typeof RELOAD_OUTCOMES)[number];

const STREAM_ENDS = ['client_gone', 'too_slow', 'no_longer_authorized', 'storage_unavailable', 'shutting_down'] as const;
/** Why a live stream ended. Whatever it is, its reader may come again with the position that it has. */
export type StreamEnd = (typeof STREAM_ENDS)[number];

/** Methods that have a series of their own; any other is counted as `other`. */
const COUNTED_METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);

const LATENCY_BOUNDS_SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const BATCH_SIZE_BOUNDS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];

/** What happened, told by the part where it happened. */
export interface Metrics {
  readonly registry: Registry;
  requestAnswered(method: string | null, route: string, status: number, latencyMs: number | null): void;
  /** Before it had a route, whether it was answered or not. */
  requestRefused(refusal: RequestRefusal): void;
  connectionRefused(): void;
  handshakeFailed(): void;
  /** A read token was right: the one in use, or the one before it. */
  readTokenVerified(key: RotationKey): void;
  streamEnded(end: StreamEnd): void;
  /** A stream's own read was refused, and is tried again. */
  streamReadRefused(): void;
  credentialsReloaded(outcome: ReloadOutcome): void;
  webhookEnded(result: WebhookResult): void;
  signatureVerified(key: RotationKey): void;
  signatureRefused(fault: SignatureFault): void;
  messageStored(): void;
  messageRepeated(conflicting: boolean): void;
  batchCommitted(messages: number, seconds: number): void;
  /** The database is another server than before. */
  failedOver(): void;
  /** A commit was not acknowledged, as its replication was cut short. */
  replicationCut(): void;
}

export function createMetrics(): Metrics {
  const registry = createRegistry();
  const requests = registry.counters('http_requests_total', 'HTTP requests answered.', ['method', 'route', 'status']);
  const latency = registry.histograms('http_request_duration_seconds',
    'Time from the head of a request to its answer.', ['route'], LATENCY_BOUNDS_SECONDS);
  const refusals = registry.counters('http_requests_refused_total', 'HTTP requests refused before they had a route.', ['reason'],
    REQUEST_REFUSALS);
  const refused = registry.counter('http_connections_refused_total', 'Connections closed at once because too many were open.');
  const handshakes = registry.counter('tls_handshakes_failed_total', 'Connections that ended before their TLS handshake was done.');
  const webhooks = registry.counters('webhook_requests_total', 'Webhook requests by how they ended.', ['result'], WEBHOOK_RESULTS);
  const signatures = registry.counters('webhook_signature_failures_total', 'Refused signatures by reason.', ['reason'], SIGNATURE_FAULTS);
  const verified = registry.counters('webhook_signatures_verified_total', 'Right signatures by the key that they were made with.',
    ['key'], ROTATION_KEYS);
  const tokens = registry.counters('read_tokens_verified_total', 'Reads with a right token, by which one it was.', ['key'], ROTATION_KEYS);
  const streamEnds = registry.counters('message_streams_ended_total', 'Live streams by how they ended.', ['end'], STREAM_ENDS);
  const streamReadsRefused = registry.counter('message_stream_reads_refused_total',
    'Reads of live streams that were refused, and tried again.');
  const reloads = registry.counters('credentials_reloads_total', 'Reloads of the credentials: new ones taken, or all old ones kept.',
    ['outcome'], RELOAD_OUTCOMES);
  const stored = registry.counter('messages_stored_total', 'Messages stored since start.');
  const repeated = registry.counter('webhook_duplicates_total', 'Repeats of a stored message_id, conflicting ones included.');
  const conflicting = registry.counter('webhook_conflicting_duplicates_total',
    'Repeats of a stored message_id whose content differs from the stored message.');
  const batchSize = registry.histogram('storage_batch_messages', 'Messages in a committed batch.', BATCH_SIZE_BOUNDS);
  const commitTime = registry.histogram('storage_commit_duration_seconds',
    'Time from handing a batch to the writer to its commit on disk.', LATENCY_BOUNDS_SECONDS);
  const failovers = registry.counter('storage_failovers_total', 'Changes to another PostgreSQL server, or to one with another history.');
  const replicationsCut = registry.counter('storage_replication_warnings_total',
    'Commits that were not acknowledged, as PostgreSQL warned that they were not replicated.');

  return {
    registry,
    requestAnswered(method, route, status, latencyMs) {
      requests.with(method !== null && COUNTED_METHODS.has(method) ? method : 'other', route, String(status)).increment();
      if (latencyMs !== null) latency.with(route).observe(latencyMs / 1000);
    },
    requestRefused: (refusal) => refusals.with(refusal).increment(),
    connectionRefused: () => refused.increment(),
    handshakeFailed: () => handshakes.increment(),
    readTokenVerified: (key) => tokens.with(key).increment(),
    streamReadRefused: () => streamReadsRefused.increment(),
    streamEnded: (end) => streamEnds.with(end).increment(),
    credentialsReloaded: (outcome) => reloads.with(outcome).increment(),
    webhookEnded: (result) => webhooks.with(result).increment(),
    signatureVerified: (key) => verified.with(key).increment(),
    signatureRefused: (fault) => signatures.with(fault).increment(),
    messageStored: () => stored.increment(),
    messageRepeated(differs) {
      repeated.increment();
      if (differs) conflicting.increment();
    },
    batchCommitted(messages, seconds) {
      batchSize.observe(messages);
      commitTime.observe(seconds);
    },
    failedOver: () => failovers.increment(),
    replicationCut: () => replicationsCut.increment(),
  };
}
