import type { Position } from '../storage/storage.ts';
import { readOpaque, writeOpaque } from './opaque.ts';

/** Where a page of GET /messages begins: after a position in one database. */
export interface Cursor {
  /** Of the database (`Storage.generation`): in another one the position may mean something else. */
  readonly generation: string;
  readonly after: Position;
}

export function writeCursor({ generation, after }: Cursor): string {
  return writeOpaque([generation, after.instant, after.message_id]);
}

/** Null where `writeCursor` did not write it. */
export function readCursor(text: string): Cursor | null {
  const [generation, instant, message_id, ...more] = readOpaque(text) ?? [];
  if (generation === undefined || instant === undefined || message_id === undefined || more.length > 0) return null;
  return { generation, after: { instant, message_id } };
}
