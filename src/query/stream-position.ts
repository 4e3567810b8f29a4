import type { Sequence } from '../storage/storage.ts';
import { readOpaque, writeOpaque } from './opaque.ts';

/** How far a reader of the stream has come, in one database. */
export interface StreamPosition {
  /** Of the database (`Storage.generation`): in another one the sequence may mean something else. */
  readonly generation: string;
  readonly sequence: Sequence;
}

export function writeStreamPosition({ generation, sequence }: StreamPosition): string {
  return writeOpaque([generation, sequence]);
}

/** Null where `writeStreamPosition` did not write it. */
export function readStreamPosition(text: string): StreamPosition | null {
  const [generation, sequence, ...more] = readOpaque(text) ?? [];
  if (generation === undefined || sequence === undefined || more.length > 0) return null;
  return /^-?[0-9]{1,19}$/.test(sequence) ? { generation, sequence } : null;
}
