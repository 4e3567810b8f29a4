import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Something that ends, with what has to be done then: a test's context, or node:test itself for a whole file. */
export interface Scope {
  after(cleanUp: () => void | Promise<void>): void;
}

/** A folder of its own for a test, removed after it. */
export function temporaryFolder(scope: Scope): string {
  const folder = mkdtempSync(join(tmpdir(), 'webhook-inbox-'));
  scope.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
