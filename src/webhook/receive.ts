/**
 * POST /webhook: the order of work, a step a line. Each step either leads on or decides how the
 * request ends; what that means for the answer, the log and the metrics is decided once, at the end.
 */
import type { WebhookKey } from '../config/credentials.ts';
import type { Rotation } from '../rotation.ts';
import { StorageUnavailable } from '../errors.ts';
import type { BodyAbort, BodyLimits } from '../http/body.ts';
import { createByteBudget } from '../http/byte-budget.ts';
import type { Exchange } from '../http/exchange.ts';
import { badRequest, errorReply, OK, REQUEST_INCOMPLETE, UNAVAILABLE, unprocessable, type Reply } from '../http/reply.ts';
import type { Handler } from '../http/router.ts';
import { type ClientCertificateFault, clientCertificateFault } from '../http/tls.ts';
import { type Fault, type Message, validateMessage } from '../message.ts';
import { describeError, type Log, type LogLevel } from '../observe/log.ts';
import type { Metrics, SignatureFault } from '../observe/metrics.ts';
import type { Refusals, Refused } from '../observe/refusals.ts';
import type { AppendOutcome, Storage } from '../storage/storage.ts';
import { type SignatureRules, verifySignature } from './signature.ts';

export interface ReceiveOptions extends SignatureRules {
  /** The keys of this moment; null where none is set: then nothing is accepted. */
  readonly keys: () => Rotation<WebhookKey> | null;
  readonly requiresClientCertificate: boolean;
  readonly maxBodyBytes: number;
  readonly storage: Pick<Storage, 'append' | 'hasRoom'>;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly refusals: Pick<Refusals, 'add'>;
}

/** Why a body is not read on though its sender did nothing wrong. */
const OUR_ABORTS = { 'shutting down': 'shutting down', 'no room': 'too many bodies are being read' } as const;

/** Every reason that lies with the sender or the network. */
type SendersAbort = Exclude<BodyAbort, keyof typeof OUR_ABORTS>;

/** How a request ended. `message_id` is known only where the signature and the schema held. */
type Ending =
  | { readonly result: 'ok'; readonly message_id: string; readonly outcome: AppendOutcome }
  | { readonly result: 'unavailable'; readonly message_id: string | null; readonly reason: string }
  | { readonly result: 'invalid_client_certificate'; readonly reason: ClientCertificateFault }
  | { readonly result: 'unsupported_encoding' }
  | { readonly result: 'payload_too_large' }
  | { readonly result: 'aborted'; readonly reason: SendersAbort }
  | { readonly result: 'invalid_signature'; readonly reason: SignatureFault }
  | { readonly result: 'invalid_payload'; readonly faults: readonly Fault[] };

/** Bytes of bodies that may be half here at the same time; one of the largest size may be in any case. */
const BODIES_BUDGET_BYTES = 64 * 1024 * 1024;

export function createReceive(options: ReceiveOptions): Handler {
  const bodies = { maxBytes: options.maxBodyBytes, budget: createByteBudget(Math.max(BODIES_BUDGET_BYTES, options.maxBodyBytes)) };
  return async (exchange) => {
    const ending = await receive(exchange, options, bodies);
    const reply = replyTo(ending, options.maxBodyBytes);
    report(exchange, ending, reply.status, options);
    return reply;
  };
}

async function receive(exchange: Exchange, options: ReceiveOptions, bodies: BodyLimits): Promise<Ending> {
  const { storage, log } = options;
  const certificateFault = options.requiresClientCertificate ? clientCertificateFault(exchange.request.socket, options.now()) : null;
  if (certificateFault !== null) return { result: 'invalid_client_certificate', reason: certificateFault };
  const keys = options.keys();
  if (keys === null) return { result: 'unavailable', message_id: null, reason: 'no secret is set' };
  if (!storage.hasRoom()) return { result: 'unavailable', message_id: null, reason: 'the queue is full' };

  const { headers, rawHeaders } = exchange.request;
  const encoding = headers['content-encoding'];
  if (encoding !== undefined && encoding.toLowerCase() !== 'identity') return { result: 'unsupported_encoding' };

  const body = await exchange.readBody(bodies);
  if (body.kind === 'too large') return { result: 'payload_too_large' };
  if (body.kind === 'aborted') {
    return body.why === 'shutting down' || body.why === 'no room'
      ? { result: 'unavailable', message_id: null, reason: OUR_ABORTS[body.why] }
      : { result: 'aborted', reason: body.why };
  }

  // The body may have taken long: the keys of now.
  const verdict = verifySignature(rawHeaders, body.bytes, options.keys() ?? keys, options);
  if ('fault' in verdict) return { result: 'invalid_signature', reason: verdict.fault };
  options.metrics.signatureVerified(verdict.key);

  const reading = readMessage(body.bytes);
  if (!reading.valid) return { result: 'invalid_payload', faults: reading.faults };
  return store(reading.message, storage, log);
}

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Strict UTF-8 (a byte order mark is kept, and so refused: RFC 8259 section 8.1), then JSON, then the schema. */
function readMessage(bytes: Buffer): ReturnType<typeof validateMessage> {
  const invalid = (msg: string, type: string) => ({ valid: false, faults: [{ loc: ['body'], msg, type }] }) as const;
  let text: string;
  try {
    text = strictUtf8.decode(bytes);
  } catch {
    return invalid('must be UTF-8', 'utf8_invalid');
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return invalid('must be JSON', 'json_invalid');
  }
  return validateMessage(value);
}

async function store(message: Message, storage: ReceiveOptions['storage'], log: Log): Promise<Ending> {
  const { message_id } = message;
  try {
    return { result: 'ok', message_id, outcome: await storage.append(message) };
  } catch (error) {
    // Whatever went wrong, nothing was acknowledged, and the sender is asked to try again.
    if (error instanceof StorageUnavailable) return { result: 'unavailable', message_id, reason: error.reason };
    log('ERROR', 'unexpected_error', describeError(error));
    return { result: 'unavailable', message_id, reason: 'unexpected error' };
  }
}

const UNSUPPORTED_ENCODING = errorReply(415, 'Content-Encoding must be absent or identity');
const INVALID_CLIENT_CERTIFICATE = errorReply(401, 'a certificate of the configured client CA is required');
const INVALID_SIGNATURE = errorReply(401, 'invalid signature');

function replyTo(ending: Ending, maxBodyBytes: number): Reply {
  switch (ending.result) {
    case 'ok': return OK;
    case 'unavailable': return UNAVAILABLE;
    case 'invalid_client_certificate': return INVALID_CLIENT_CERTIFICATE;
    case 'unsupported_encoding': return UNSUPPORTED_ENCODING;
    case 'payload_too_large': return errorReply(413, `the body must have at most ${maxBodyBytes} bytes`);
    case 'aborted': return ABORTED_REPLIES[ending.reason];
    case 'invalid_signature': return INVALID_SIGNATURE;
    case 'invalid_payload': return unprocessable(ending.faults);
    default: return ending satisfies never;
  }
}

const ABORTED_REPLIES: Readonly<Record<SendersAbort, Reply>> = {
  'timed out': REQUEST_INCOMPLETE,
  'malformed': badRequest('the body is malformed'),
  'connection closed': REQUEST_INCOMPLETE,
};

function report({ requestId, remoteAddress }: Exchange, ending: Ending, status: number, { log, metrics, refusals }: ReceiveOptions): void {
  const { result } = ending;
  const details = detailsOf(ending);
  metrics.webhookEnded(result);
  if (result === 'invalid_signature') metrics.signatureRefused(ending.reason);
  if (result === 'ok' && ending.outcome === 'stored') metrics.messageStored();
  if (result === 'ok' && ending.outcome !== 'stored') metrics.messageRepeated(ending.outcome === 'conflicting_duplicate');
  log(levelOf(ending), 'webhook', {
    request_id: requestId,
    message_id: 'message_id' in ending ? ending.message_id : null,
    dup: result === 'ok' && ending.outcome !== 'stored',
    result,
    ...details,
  });
  if (result !== 'ok') refusals.add({ requestId, status, result, ...details, remoteAddress });
}

/** Of an orderly end: whoever sends again gets to the next process. */
const ORDERLY_REASONS: ReadonlySet<string> = new Set(['shutting down', 'the storage is closed']);

function levelOf(ending: Ending): LogLevel {
  if (ending.result === 'unavailable' && !ORDERLY_REASONS.has(ending.reason)) return 'ERROR';
  return ending.result === 'ok' && ending.outcome !== 'conflicting_duplicate' ? 'INFO' : 'WARNING';
}

/** The reason of a refusal, or that a repeat differs; never a value of the message. */
function detailsOf(ending: Ending): Pick<Refused, 'reason' | 'errors'> & { readonly conflicting?: true } {
  if ('reason' in ending) return { reason: ending.reason };
  if (ending.result === 'invalid_payload') return { errors: ending.faults.map(({ loc, type }) => ({ loc, type })) };
  return ending.result === 'ok' && ending.outcome === 'conflicting_duplicate' ? { conflicting: true } : {};
}
