/** Places that clients hand back and know nothing of: where a page begins, how far a reader of the stream is. Their form may change. */
import type { Position, Sequence } from '../storage/storage.ts';

/** Where a page of GET /messages begins: after a position in one database. */
export interface Cursor {
  /** Of the database (`Storage.generation`): in another one the position may mean something else. */
  readonly generation: string;
  readonly after: Position;
}

export const writeCursor = ({ generation, after }: Cursor): string => write([generation, after.instant, after.message_id]);

/** Null where `writeCursor` did not write it. */
export function readCursor(text: string): Cursor | null {
  const [generation, instant, message_id, ...more] = read(text);
  if (generation === undefined || instant === undefined || message_id === undefined || more.length > 0) return null;
  return { generation, after: { instant, message_id } };
}

/** How far a reader of the stream has come, in one database. */
export interface StreamPosition {
  /** Of the database (`Storage.generation`): in another one the sequence may mean something else. */
  readonly generation: string;
  readonly sequence: Sequence;
}

export const writeStreamPosition = ({ generation, sequence }: StreamPosition): string => write([generation, sequence]);

/** Null where `writeStreamPosition` did not write it. */
export function readStreamPosition(text: string): StreamPosition | null {
  const [generation, sequence, ...more] = read(text);
  if (generation === undefined || sequence === undefined || more.length > 0) return null;
  return /^-?[0-9]{1,19}$/.test(sequence) ? { generation, sequence } : null;
}

function write(parts: readonly string[]): string {
  return Buffer.from(JSON.stringify(parts)).toString('base64url');
}

/** The parts; none where `write` did not write it. */
function read(text: string): readonly string[] {
  try {
    const parts: unknown = JSON.parse(Buffer.from(text, 'base64url').toString());
    if (!Array.isArray(parts) || !parts.every((part) => typeof part === 'string')) return [];
    // Decoding overlooks what is no base64url, and replaces what is no UTF-8.
    return write(parts) === text ? parts : [];
  } catch {
    return [];
  }
}
