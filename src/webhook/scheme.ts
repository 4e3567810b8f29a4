/** A way to sign a request: the headers that carry it, all lower case, and what their values say. */
export interface Scheme {
  readonly headers: readonly string[];
  /** Reads one value of each header, in that order; null where one is malformed. */
  parse(values: readonly string[]): Claim | null;
}

/** What a request says of its own signature. */
export interface Claim {
  /** What is signed before the body, each character a byte (Latin-1, as node:http has headers). */
  readonly signedPrefix: string;
  /** HMAC-SHA256 values of 32 bytes; one of them has to be right. */
  readonly signatures: readonly Buffer[];
  /** When it was signed, in seconds since 1970; null where the scheme does not tell. */
  readonly signedAt: number | null;
}
