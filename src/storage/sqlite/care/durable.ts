/** Making names and contents of files survive a power cut. */
import { closeSync, fsyncSync, openSync } from 'node:fs';
import { dirname } from 'node:path';

/** Syncs a file, or a folder with the names in it. Throws the errors of the system. */
export function syncToDisk(path: string): void {
  const opened = openSync(path, 'r');
  try {
    fsyncSync(opened);
  } finally {
    closeSync(opened);
  }
}

/** Makes the name of a file durable, or its absence. */
export const syncName = (path: string): void => syncToDisk(dirname(path));
