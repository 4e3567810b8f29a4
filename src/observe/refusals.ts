import type { WebhookResult } from './metrics.ts';

/** A request that was refused, without any value of it. */
export interface Refused {
  readonly requestId: string;
  /** What was answered, or would have been where its sender had gone; null where its connection was closed without an answer of its own. */
  readonly status: number | null;
  /** How a webhook request ended; `refused` where it was refused before it had a route. */
  readonly result: Exclude<WebhookResult, 'ok'> | 'refused';
  /** Why, in one of the words or sentences of this program, where `result` does not say it all. */
  readonly reason?: string;
  /** Of a body: in which of its known fields, and the code of what is wrong there. */
  readonly errors?: readonly { readonly loc: readonly string[]; readonly type: string }[];
  readonly remoteAddress: string | null;
}

/** How many are kept. */
const KEPT = 200;

/** The last refusals, in memory alone: what an operator looks at who is asked why a sender gets no 200. */
export interface Refusals {
  add(refused: Refused): void;
  /** Each with its time, in milliseconds since 1970. */
  newestFirst(): readonly (Refused & { readonly at: number })[];
}

export function createRefusals(now: () => number): Refusals {
  const kept: (Refused & { readonly at: number })[] = [];
  return {
    add(refused) {
      if (kept.length === KEPT) kept.shift();
      kept.push({ ...refused, at: now() });
    },
    newestFirst: () => kept.toReversed(),
  };
}
