import type { RequestRefusal } from '../observe/metrics.ts';

/** What is known of an answered request, for the log and the metrics. */
export interface Answered {
  readonly requestId: string;
  /** Null where the request could not be read. */
  readonly method: string | null;
  readonly route: string;
  /** Null where its connection was closed without an answer of its own. */
  readonly status: number | null;
  /** Why it was refused before it had a route; null where it was not. */
  readonly refusal: RequestRefusal | null;
  /** Null where it is not known when the request began. */
  readonly latencyMs: number | null;
  readonly remoteAddress: string | null;
}
