import { setTimeout as delay } from 'node:timers/promises';

const PATIENCE_MS = 10_000;
const LOOK_EVERY_MS = 10;

/** Waits until `look` finds something, and returns it. Rejects after ten seconds, naming what was awaited. */
export async function waitFor<Found>(what: string, look: () => Found | undefined | false | Promise<Found | undefined | false>): Promise<Found> {
  const deadline = performance.now() + PATIENCE_MS;
  while (performance.now() < deadline) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    await delay(LOOK_EVERY_MS);
  }
  throw new Error(`waited ${PATIENCE_MS} ms in vain for ${what}`);
}
