import type { Position } from '../storage/storage.ts';

/** Where a page of GET /messages begins: after a position in one database. */
export interface Cursor {
  /** Of the database (`Storage.generation`): in another one the position may mean something else. */
  readonly generation: string;
  readonly after: Position;
}

/** Clients are told nothing of its form, so that it may change. */
export function writeCursor({ generation, after }: Cursor): string {
  return Buffer.from(JSON.stringify([generation, after.instant, after.message_id])).toString('base64url');
}

/** Null where `writeCursor` did not write it. */
export function readCursor(text: string): Cursor | null {
  try {
    const parts: unknown = JSON.parse(Buffer.from(text, 'base64url').toString());
    if (!Array.isArray(parts)) return null;
    const [generation, instant, message_id]: unknown[] = parts;
    if (typeof generation !== 'string' || typeof instant !== 'string' || typeof message_id !== 'string') return null;
    const cursor: Cursor = { generation, after: { instant, message_id } };
    // Decoding overlooks what is no base64url, and replaces what is no UTF-8.
    return writeCursor(cursor) === text ? cursor : null;
  } catch {
    return null;
  }
}
