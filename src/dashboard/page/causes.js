/** Why requests are refused, in words, each with what to do about it. */

/**
 * @typedef {object} Refusal
 * @property {string} at
 * @property {string} request_id
 * @property {number | null} status
 * @property {string | null} [result]
 * @property {string} [reason]
 * @property {{ loc: string[], type: string }[]} [errors]
 * @property {string | null} remote_address
 *
 * @typedef {readonly [title: string, mend: string]} Cause
 */

/** @type {Readonly<Record<string, Readonly<Record<string, Cause>>>>} */
const BY_RESULT = {
  invalid_signature: {
    missing: ['No signature',
      'Have the sender sign each request with a header that is accepted here ({headers}), and let no proxy in ' +
        'between drop it.'],
    malformed: ['The signature has a wrong form',
      'Have the sender send {forms}.'],
    mismatch: ['The signature does not match',
      'Compare the secret on both sides character by character (WEBHOOK_SECRET here; mind blanks, line ends and ' +
        'a whsec_ prefix), and have the sender sign exactly the bytes that it sends, not JSON that is written ' +
        'anew or altered by a proxy.'],
    timestamp: ['The signed time is too far from now',
      'Set the clocks of the sender and of this machine (NTP), and have the sender sign anew at each attempt; ' +
        'SIGNATURE_TOLERANCE_SECONDS says how far off it may be.'],
  },
  invalid_client_certificate: {
    missing: ['No client certificate',
      'Give the sender a certificate of the CA in TLS_CLIENT_CA_FILE, or do not require one.'],
    untrusted: ['The client certificate is of another CA',
      'Have the certificate issued by the CA in TLS_CLIENT_CA_FILE, or put its CA there.'],
    expired: ['The client certificate has expired, or is not valid yet',
      'Renew the certificate of the sender, and compare the clocks.'],
  },
  unavailable: {
    'no secret is set': ['No secret is set here',
      'Set WEBHOOK_SECRET and start again: until then nothing is accepted, and senders try again.'],
    'the queue is full': ['More came than could be stored',
      'The sender tries again by itself; where this lasts, look for a slow disk ' +
        '(storage_commit_duration_seconds) or spread the load.'],
    'too many bodies are being read': ['Too many bodies at the same time',
      'The sender tries again by itself; where this lasts, have it send fewer at a time or lower ' +
        'MAX_BODY_BYTES.'],
    'shutting down': ['The service was stopping',
      'Nothing to do: the sender tries again, and gets to the next process.'],
    'the disk is full': ['The disk is full',
      'Free space on the disk of the database, or make it larger: senders try again meanwhile.'],
    'the disk is nearly full': ['The disk is nearly full',
      'Free space on the disk of the database, or make it larger: senders try again meanwhile.'],
  },
  aborted: {
    'timed out': ['The body came too slowly',
      'Look at the network and at proxies between: the whole request has to arrive within REQUEST_TIMEOUT_MS.'],
    'malformed': ['The body was cut up wrongly',
      'Have the sender, or a proxy between, write Content-Length or chunks as HTTP/1.1 wants them.'],
    'connection closed': ['The sender went away',
      'Raise the timeout of the sender or of a proxy between, which ended the connection before the body was ' +
        'complete.'],
  },
};

/** Where the result says it all. @type {Readonly<Record<string, Cause>>} */
const BY_RESULT_ALONE = {
  unavailable: ['It could not be stored',
    'The sender tries again by itself; see above whether the service is ready, and look for the request in ' +
      'its log.'],
  unsupported_encoding: ['The body is compressed',
    'Have the sender leave out Content-Encoding and send the body as it is.'],
  payload_too_large: ['The body is too large', 'Have the sender send less, or raise MAX_BODY_BYTES.'],
  invalid_payload: ['The message is not valid',
    'The signature is right: have the sender mend the fields that are named here.'],
};

/** Refused before there was a route. @type {Readonly<Record<string, Cause>>} */
const BEFORE_ROUTE = {
  malformed: ['Not HTTP/1.1',
    'Look at what connects from this address: a scanner, HTTPS to a plain port, or a broken client or proxy.'],
  incomplete: ['The connection ended within the head',
    'Look at what connects from this address: a port scan or a health check by TCP alone; have checks ask for ' +
      '/health/live.'],
  timed_out: ['The head came too slowly',
    'Look at what connects from this address: a very slow network, or a client that keeps connections busy on ' +
      'purpose (HEADER_TIMEOUT_MS).'],
  head_too_large: ['The head is too large',
    'Have the sender or a proxy between send fewer and shorter headers, such as cookies.'],
  unsupported_version: ['Another version of HTTP',
    'Have the client speak HTTP/1.1, with or without TLS as this port has it.'],
  invalid_host: ['The Host header is missing, repeated or wrong',
    'Have the client or the proxy send exactly one Host with the name that was asked for.'],
  invalid_target: ['The address of the request is not valid',
    'Have the client ask for a path such as /webhook; whole addresses have to agree with Host.'],
  invalid_transfer_encoding: ['The transfer encoding is not supported',
    'Have the client use chunked alone, or Content-Length.'],
  unknown_expectation: ['An Expect header of another kind', 'Have the client leave out Expect, or send 100-continue.'],
  connect: ['It was taken for a proxy',
    'Nothing to do unless the address is yours: whoever sends CONNECT looks for open proxies.'],
};

/** @type {Cause} */
const UNKNOWN = ['Refused', 'Look for the request in the log by its id.'];

/** What a field has to be, by the type of its error. @type {Readonly<Record<string, string>>} */
export const FIELD_RULES = {
  missing: 'is required',
  string_type: 'has to be a string',
  string_unicode: 'has a lone surrogate, which is no character',
  string_too_short: 'has to have at least 1 character',
  string_too_long: 'has too many characters',
  control_character: 'must have no control characters',
  e164: 'has to be a number with + and country code, 2 to 15 digits, no blanks',
  timestamp: 'has to be a UTC time such as 2026-01-31T09:30:00Z',
  nul_character: 'must not contain U+0000',
  object_type: 'has to be a JSON object',
  utf8_invalid: 'has to be UTF-8, without a byte order mark',
  json_invalid: 'has to be JSON',
};

/** How requests may be signed, by the name of the scheme: in which headers, and in which form. */
const SCHEMES = {
  'x-signature': {
    headers: 'X-Signature',
    form: 'X-Signature once, with the HMAC-SHA256 of the body as 64 hexadecimal digits, not in base64; sha256= may stand before them',
  },
  'standard-webhooks': {
    headers: 'webhook-id, webhook-timestamp and webhook-signature',
    form: 'webhook-id, webhook-timestamp (seconds since 1970) and webhook-signature (v1, and the HMAC in base64), each once',
  },
};

/**
 * What a refusal is about: its title, what to do, and for an invalid message what is wrong with each field. Two refusals are of one kind
 * where these are the same.
 * @param {Refusal} refusal
 * @param {string[]} schemes How requests may be signed here.
 */
export function causeOf({ result, reason, errors = [] }, schemes) {
  const byResult = BY_RESULT[result ?? '']?.[reason ?? ''] ?? BY_RESULT_ALONE[result ?? ''];
  const [title, mend] = byResult ?? BEFORE_ROUTE[reason ?? ''] ?? UNKNOWN;
  const accepted = Object.entries(SCHEMES).filter(([name]) => schemes.includes(name)).map(([, scheme]) => scheme);
  const headers = accepted.map((scheme) => scheme.headers).join(', or ');
  const forms = accepted.map(({ form }) => form).join('; or, and never both, ');
  return {
    title: reason !== undefined && result === 'unavailable' && BY_RESULT[result]?.[reason] === undefined ? `${title}: ${reason}` : title,
    mend: mend.replace('{headers}', headers).replace('{forms}', forms),
    faults: errors.map(({ loc, type }) => `${loc.at(-1)} ${FIELD_RULES[type] ?? type}`),
  };
}
