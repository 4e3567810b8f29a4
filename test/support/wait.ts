import { setTimeout as delay } from 'node:timers/promises';

/** How long a test waits for what has to come: far longer than a slow and busy machine needs, as a wait ends with what it waits for. */
export const PATIENCE_MS = 120_000;
const LOOK_EVERY_MS = 10;

/** Waits until `look` finds something, and returns it. Rejects after `PATIENCE_MS`, naming what was awaited. */
export async function waitFor<Found>(
  what: string | (() => string), look: () => Found | undefined | false | Promise<Found | undefined | false>,
): Promise<Found> {
  const deadline = performance.now() + PATIENCE_MS;
  while (performance.now() < deadline) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    await delay(LOOK_EVERY_MS);
  }
  throw new Error(`waited ${PATIENCE_MS} ms in vain for ${typeof what === 'string' ? what : what()}`);
}
