import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { ThreadData } from './protocol.ts';

/**
 * Starts a database thread. tsc rewrites the extension of an import but not of a URL, so it is taken from this very
 * file: `.ts` from source, `.js` from `dist/`.
 */
export function startThread(script: 'writer' | 'reader', workerData: ThreadData): Worker {
  const extension = extname(import.meta.filename);
  return new Worker(new URL(`./${script}${extension}`, import.meta.url), { workerData, name: script });
}
