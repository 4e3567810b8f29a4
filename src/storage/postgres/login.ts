/**
 * How a client proves to PostgreSQL who it is, and the server to the client that it knows the password: SCRAM-SHA-256 and
 * SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677), https://www.postgresql.org/docs/current/sasl-authentication.html. Knows no socket.
 */
import { createHash, createHmac, pbkdf2, timingSafeEqual, type X509Certificate } from 'node:crypto';
import { promisify } from 'node:util';
import { LoginRefused } from './failures.ts';
import { encodeSaslInitialResponse, encodeSaslResponse, type BackendMessage } from './protocol.ts';

const SCRAM = 'SCRAM-SHA-256';
const SCRAM_PLUS = 'SCRAM-SHA-256-PLUS';
/** Fewer are easily tried by whoever sees the exchange (RFC 7677 section 4); more would keep a processor busy for a server that lies. */
const MIN_ITERATIONS = 4096;
const MAX_ITERATIONS = 100_000;
const KEY_BYTES = 32;

const deriveKey = promisify(pbkdf2);
const hmac = (key: Buffer, text: string) => createHmac('sha256', key).update(text).digest();
const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest();

/** RFC 3454: C.1.2, those that are not ASCII's own space; B.1, without those of them that are spaces above. */
const SPACES = /[\u00a0\u1680\u2000-\u200b\u202f\u205f\u3000]/g;
const MAPPED_TO_NOTHING = /[\u00ad\u034f\u1806\u180b-\u180d\u200c\u200d\u2060\ufe00-\ufe0f\ufeff]/g;
/** C.2 to C.9, and what has no meaning in Unicode 3.2 (A.1): in place of that table what has none today, and pictographs, all newer. */
const PROHIBITED = new RegExp([
  '[\\p{Cc}\\p{Cs}\\p{Co}\\p{Cn}\\u{1f000}-\\u{1faff}\\u06dd\\u070f\\u180e\\u0340\\u0341\\u200c-\\u200f\\u2028-\\u202e\\u2060-\\u2063',
  '\\u206a-\\u206f\\u2ff0-\\u2ffb\\ufeff\\ufff9-\\ufffd\\u{1d173}-\\u{1d17a}\\u{e0001}\\u{e0020}-\\u{e007f}]',
].join(''), 'u');
/** D.1 and D.2, by the scripts and categories that they were made of. */
const RIGHT_TO_LEFT =
  /^[[\p{L}&&[\p{Script=Hebrew}\p{Script=Arabic}\p{Script=Syriac}\p{Script=Thaana}]]\u05be\u05c0\u05c3\u05f3\u05f4\u061b\u061f\u066d]$/v;
const LEFT_TO_RIGHT = /^[\p{L}\p{Mc}\p{Nl}]$/v;

/** RFC 3454 section 6. */
function mixesDirections(text: string): boolean {
  const characters = [...text];
  const isRight = characters.map((character) => RIGHT_TO_LEFT.test(character));
  if (!isRight.includes(true)) return false;
  if (isRight[0] !== true || isRight.at(-1) !== true) return true;
  return characters.some((character, index) => isRight[index] !== true && LEFT_TO_RIGHT.test(character));
}

/** SASLprep (RFC 4013) of a password, and the password as it is where that refuses it: what PostgreSQL does when it stores one. */
export function prepare(password: string): string {
  const mapped = password.replace(SPACES, ' ').replace(MAPPED_TO_NOTHING, '').normalize('NFKC');
  return mapped === '' || PROHIBITED.test(mapped) || mixesDirections(mapped) ? password : mapped;
}

/**
 * By the object identifier of a certificate's signature, the hash that binds a channel to it (RFC 5929 section 4.1): the signature's own,
 * but SHA-256 in place of MD5 and SHA-1. RSA-PSS, Ed25519 and Ed448 are not here: clients and servers do not agree on theirs.
 */
const BINDING_HASHES = new Map([
  ['1.2.840.113549.1.1.4', 'sha256'], ['1.2.840.113549.1.1.5', 'sha256'], ['1.2.840.113549.1.1.14', 'sha224'],
  ['1.2.840.113549.1.1.11', 'sha256'], ['1.2.840.113549.1.1.12', 'sha384'], ['1.2.840.113549.1.1.13', 'sha512'],
  ['1.2.840.10045.4.1', 'sha256'], ['1.2.840.10045.4.3.1', 'sha224'],
  ['1.2.840.10045.4.3.2', 'sha256'], ['1.2.840.10045.4.3.3', 'sha384'], ['1.2.840.10045.4.3.4', 'sha512'],
]);

/** What binds a login to the channel of a server with this certificate (tls-server-end-point); null where nothing does. */
export function channelBinding(certificate: X509Certificate): Buffer | null {
  const hash = BINDING_HASHES.get(certificate.signatureAlgorithmOid ?? '');
  return hash === undefined ? null : createHash(hash).update(certificate.raw).digest();
}

export interface Credentials {
  /** Null where there is none: then the server has to know the client by its certificate, its user or its address. */
  readonly password: string | null;
  /** From `channelBinding`; null where there is no TLS, or nothing to bind to. */
  readonly binding: Buffer | null;
  /** Printable ASCII without a comma, of at least 128 random bits, never used twice. */
  readonly nonce: string;
}

/** One attribute a field, `r=…,s=…,i=…`, each once and in this order (RFC 5802 section 7); null where it is anything else. */
function readServerFirst(message: string): { nonce: string; salt: Buffer; iterations: number } | null {
  const [, nonce, salt, iterations] = /^r=([\x21-\x2b\x2d-\x7e]+),s=([A-Za-z0-9+/]+={0,2}),i=([1-9]\d{0,9})(?:,|$)/.exec(message) ?? [];
  if (nonce === undefined || salt === undefined || iterations === undefined) return null;
  return { nonce, salt: Buffer.from(salt, 'base64'), iterations: Number(iterations) };
}

function exclusiveOr(a: Buffer, b: Buffer): Buffer {
  return Buffer.from(a.map((byte, index) => byte ^ (b[index] ?? 0)));
}

/** The client's proof and the server's signature (RFC 5802 section 3). `exchanged`: its AuthMessage. */
export async function deriveProofs(password: string, { salt, iterations }: { salt: Buffer; iterations: number }, exchanged: string) {
  const salted = await deriveKey(prepare(password), salt, iterations, KEY_BYTES, 'sha256');
  const clientKey = hmac(salted, 'Client Key');
  return {
    proof: exclusiveOr(clientKey, hmac(sha256(clientKey), exchanged)),
    serverSignature: hmac(hmac(salted, 'Server Key'), exchanged),
  };
}

/** The client's side of one exchange. */
export interface Scram {
  readonly mechanism: string;
  readonly first: string;
  /** The answer to the server's first message. Rejects with LoginRefused where that is not for ours, or not within bounds. */
  final(serverFirst: string): Promise<string>;
  /** Throws LoginRefused where the server's last message does not prove that it knows the password. */
  verify(serverFinal: string): void;
}

/** Throws LoginRefused where the server offers no mechanism of ours. */
export function createScram(mechanisms: readonly string[], password: string, { binding, nonce }: Omit<Credentials, 'password'>): Scram {
  const isBound = binding !== null && mechanisms.includes(SCRAM_PLUS);
  if (!isBound && !mechanisms.includes(SCRAM)) throw new LoginRefused('the server offers no SCRAM-SHA-256');
  // `y` tells a server that does offer to bind that somebody between has hidden it (RFC 5802 section 6).
  const header = isBound ? 'p=tls-server-end-point,,' : binding === null ? 'n,,' : 'y,,';
  const bound = Buffer.concat([Buffer.from(header), isBound ? binding : Buffer.alloc(0)]).toString('base64');
  // The user was named when the session began; the server ignores the one here.
  const firstBare = `n=,r=${nonce}`;
  let serverSignature: Buffer | null = null;

  return {
    mechanism: isBound ? SCRAM_PLUS : SCRAM,
    first: `${header}${firstBare}`,
    final: async (serverFirst) => {
      const read = readServerFirst(serverFirst);
      if (read === null) throw new LoginRefused('the server\'s part of SCRAM-SHA-256 is malformed');
      if (!read.nonce.startsWith(nonce) || read.nonce.length === nonce.length) throw new LoginRefused('the server answers another login');
      if (read.iterations < MIN_ITERATIONS || read.iterations > MAX_ITERATIONS) {
        const wanted = `${MIN_ITERATIONS} to ${MAX_ITERATIONS}`;
        throw new LoginRefused(`the server stores the password with ${read.iterations} iterations: set it anew with ${wanted}`);
      }
      const withoutProof = `c=${bound},r=${read.nonce}`;
      const proofs = await deriveProofs(password, read, `${firstBare},${serverFirst},${withoutProof}`);
      serverSignature = proofs.serverSignature;
      return `${withoutProof},p=${proofs.proof.toString('base64')}`;
    },
    verify: (serverFinal) => {
      const [, encoded] = /^v=([A-Za-z0-9+/]{43}=)(?:,|$)/.exec(serverFinal) ?? [];
      const claimed = Buffer.from(encoded ?? '', 'base64');
      if (serverSignature === null || claimed.length !== serverSignature.length || !timingSafeEqual(claimed, serverSignature)) {
        throw new LoginRefused('the server does not prove that it knows the password: it is another one, or somebody stands between');
      }
    },
  };
}

/** What to change where the server asks for anything but SCRAM, by the code of its request. */
const OTHER_METHODS = new Map([
  [3, 'the password in clear: write scram-sha-256 in its pg_hba.conf'],
  [5, 'an MD5 hash of the password: set password_encryption = scram-sha-256, then the password anew, and scram-sha-256 in its pg_hba.conf'],
]);
const UNKNOWN_METHOD = 'a kind of login that is not supported: write scram-sha-256 in its pg_hba.conf';
const NO_PASSWORD = 'the server asks for a password: set DATABASE_PASSWORD or DATABASE_PASSWORD_FILE';

export type AuthenticationMessage = Extract<BackendMessage, { type: `Authentication${string}` }>;

/** The client's side of a login. */
export interface Login {
  /**
   * What to send, a promise of it where a key has to be derived first, or null once the server is satisfied. Throws or rejects with
   * LoginRefused where the server asks for what is not given, or leaves a step out.
   */
  answer(message: AuthenticationMessage): Buffer | Promise<Buffer> | null;
}

/**
 * A server that asks for nothing is believed, as it may know the client by its certificate, its user or its address, and TLS or the
 * machine has shown which server it is; one that has begun SCRAM has to end it.
 */
export function createLogin({ password, ...exchange }: Credentials): Login {
  let step: 'begin' | 'first sent' | 'final sent' | 'verified' | 'done' = 'begin';
  let scram: Scram | null = null;

  return {
    answer(message) {
      const { type } = message;
      if (type === 'AuthenticationOther') {
        throw new LoginRefused(`the server asks for ${OTHER_METHODS.get(message.code) ?? UNKNOWN_METHOD}`);
      }
      if (type === 'AuthenticationSASL' && step === 'begin') {
        if (password === null || password === '') throw new LoginRefused(NO_PASSWORD);
        scram = createScram(message.mechanisms, password, exchange);
        step = 'first sent';
        return encodeSaslInitialResponse(scram.mechanism, scram.first);
      }
      if (type === 'AuthenticationSASLContinue' && step === 'first sent' && scram !== null) {
        step = 'final sent';
        return scram.final(message.data).then(encodeSaslResponse);
      }
      if (type === 'AuthenticationSASLFinal' && step === 'final sent' && scram !== null) {
        scram.verify(message.data);
        step = 'verified';
        return Buffer.alloc(0);
      }
      if (type === 'AuthenticationOk' && (step === 'begin' || step === 'verified')) {
        step = 'done';
        return null;
      }
      throw new LoginRefused('the server leaves a step of the login out');
    },
  };
}
