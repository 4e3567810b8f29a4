/** What is known of an answered request, for the log and the metrics. */
export interface Answered {
  readonly requestId: string;
  /** Null where the request could not be read. */
  readonly method: string | null;
  readonly route: string;
  readonly status: number;
  /** Null where it is not known when the request began. */
  readonly latencyMs: number | null;
  readonly remoteAddress: string | null;
}
