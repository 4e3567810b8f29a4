import type { Scope } from '../support/temporary.ts';

const open = new Set<() => Promise<void>>();

/** Does some work, then cleans up after it: ends its processes, removes its files. */
export async function inScope<Result>(work: (scope: Scope) => Promise<Result>): Promise<Result> {
  const cleanUps: (() => void | Promise<void>)[] = [];
  const cleanUpAll = async () => {
    open.delete(cleanUpAll);
    for (const cleanUp of cleanUps.splice(0).toReversed()) await cleanUp();
  };
  open.add(cleanUpAll);
  try {
    return await work({ after: (cleanUp) => cleanUps.push(cleanUp) });
  } finally {
    await cleanUpAll();
  }
}

/** Cleans up after all that is under way, the innermost first: whoever interrupts a benchmark wants neither its servers nor its files. */
export async function endAllScopes(): Promise<void> {
  for (const cleanUp of [...open].toReversed()) await cleanUp();
}
