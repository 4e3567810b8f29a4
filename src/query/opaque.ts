/** Some texts as one that clients hand back and know nothing of, so that its form may change. */
export function writeOpaque(parts: readonly string[]): string {
  return Buffer.from(JSON.stringify(parts)).toString('base64url');
}

/** The parts, or null where `writeOpaque` did not write it. */
export function readOpaque(text: string): readonly string[] | null {
  try {
    const parts: unknown = JSON.parse(Buffer.from(text, 'base64url').toString());
    if (!Array.isArray(parts) || !parts.every((part) => typeof part === 'string')) return null;
    // Decoding overlooks what is no base64url, and replaces what is no UTF-8.
    return writeOpaque(parts) === text ? parts : null;
  } catch {
    return null;
  }
}
