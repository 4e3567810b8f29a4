import { readFileSync } from 'node:fs';

/** The version in package.json, which stands one folder above this file in the checkout, in `dist/` and in the image. */
export function readVersion(): string {
  const manifest: { version?: unknown } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
  return String(manifest.version);
}
