import { StorageUnavailable, type UnavailableReason } from '../errors.ts';

/** How long after a durable write a probe only looks, so that an idle service lets the disk rest. */
const PROOF_LASTS_MS = 10_000;
/** How long after a failure each probe writes: where a page still fits, a message may not. */
const DOUBT_LASTS_MS = 60_000;
/** How long after messages were refused that is what a probe says, unless others were stored since. */
const REFUSAL_LASTS_MS = 5000;

/** What recent work says of whether the database takes a durable write. */
export function createProof() {
  let provedAt = -Infinity;
  let failedAt = -Infinity;
  let filesChanged = false;
  /** Of messages since others were stored: a probe writes less than they do, and can succeed where they fail. */
  let refused: { readonly reason: UnavailableReason; readonly at: number } | undefined;
  const refusedFor = () => (refused !== undefined && performance.now() - refused.at < REFUSAL_LASTS_MS ? refused.reason : undefined);

  async function of<Result>(work: Promise<Result>, writes: boolean): Promise<Result> {
    try {
      const result = await work;
      if (writes) provedAt = performance.now();
      return result;
    } catch (error) {
      failedAt = performance.now();
      filesChanged ||= error instanceof StorageUnavailable && error.reason === 'the database file was changed by another program';
      throw error;
    }
  }
  return {
    /** Whether there was a durable write not long ago, and long before that no failure. */
    holds: () => performance.now() - provedAt <= PROOF_LASTS_MS && performance.now() - failedAt > DOUBT_LASTS_MS,
    of,
    async ofCommit<Result>(work: Promise<Result>): Promise<Result> {
      try {
        const result = await of(work, true);
        refused = undefined;
        return result;
      } catch (error) {
        if (error instanceof StorageUnavailable) refused = { reason: error.reason, at: performance.now() };
        throw error;
      }
    },
    refusedFor,
    filesChanged: () => filesChanged,
  };
}
