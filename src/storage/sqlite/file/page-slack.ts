import { closeSync, fstatSync, openSync, readSync, writeSync } from 'node:fs';
import type { DatabaseSync } from 'node:sqlite';
import { inTransaction } from './transaction.ts';
import { logBytes } from './write-ahead-log.ts';

/**
 * What pages of a database file hold beside the cells in them. `secure_delete` overwrites a cell that is deleted; but where SQLite fills
 * a page anew, as when it splits one, copies of cells that went to another page stay in its unallocated region
 * (https://sqlite.org/fileformat2.html#b_tree_pages), and outlive them there. No SQL reaches that region, which means nothing to SQLite.
 */
export interface PageSlack {
  /** Goes on at the first page. */
  restart(): void;
  /**
   * Overwrites the unallocated regions of the next pages with zeros, for about so many milliseconds, in a transaction of its own. Returns
   * whether all pages are done: never so where the log is not empty, as it has newer ones. Not synced: the next checkpoint does that.
   * Throws SQLite's errors and the file system's.
   */
  clean(milliseconds: number): boolean;
  /**
   * For a file that is removed, and that no longer takes room then. All connections of the process to it lose their locks
   * (https://sqlite.org/howtocorrupt.html, 2.2), so never for one that goes on to be used.
   */
  close(): void;
}

/** Bytes read at once, of whole pages. */
const PIECE_BYTES = 1024 * 1024;
const ZEROS = Buffer.alloc(65_536);
/** Of a file with more pages an overflow page can begin like one of a b-tree: with the number of the next one. */
const MOST_PAGES = 2 ** 25;
const FILE_HEADER_BYTES = 100;
/** By the kind of a b-tree page, which its first byte tells: interior and leaf pages, of indexes and of tables. */
const PAGE_HEADER_BYTES: ReadonlyMap<number | undefined, number> = new Map([[2, 12], [5, 12], [10, 8], [13, 8]]);

/**
 * `database`: the connection that writes. `onWritten` is told after each time that the file was written to past SQLite. Throws the
 * file system's errors.
 */
export function createPageSlack(database: DatabaseSync, path: string, onWritten: () => void): PageSlack {
  const file = openSync(path, 'r+');
  const piece = Buffer.alloc(PIECE_BYTES);
  let position = 0;

  /** Returns whether there was any. Regions of one page never meet those of another, so each is written for itself. */
  function cleanPiece(pageBytes: number, usableBytes: number, bytes: number): boolean {
    let hasWritten = false;
    for (let at = 0; at + pageBytes <= bytes; at += pageBytes) {
      const region = slackOf(piece.subarray(at, at + usableBytes));
      if (region === undefined || region.equals(ZEROS.subarray(0, region.length))) continue;
      writeSync(file, ZEROS, 0, region.length, position + (region.byteOffset - piece.byteOffset));
      hasWritten = true;
    }
    return hasWritten;
  }

  function cleanUntil(deadline: number): boolean {
    let hasWritten = false;
    try {
      const { pageBytes, usableBytes, isKnown } = readFormat(file);
      const end = isKnown ? fstatSync(file).size : 0;
      while (position < end && performance.now() < deadline) {
        const bytes = readSync(file, piece, 0, PIECE_BYTES, position);
        hasWritten = cleanPiece(pageBytes, usableBytes, bytes) || hasWritten;
        position += PIECE_BYTES;
      }
      return position >= end;
    } finally {
      if (hasWritten) {
        // The connection has pages in memory as they were, and would write them like that once they change.
        database.exec('PRAGMA shrink_memory');
        onWritten();
      }
    }
  }

  return {
    restart() {
      position = 0;
    },
    // With the lock, and while nothing is in the log, no page can change, and none is written by a checkpoint.
    clean: (milliseconds) => inTransaction(database, () =>
      logBytes(path) === 0 && cleanUntil(performance.now() + milliseconds)),
    close: () => closeSync(file),
  };
}

/** Of the header of the file (https://sqlite.org/fileformat2.html#the_database_header). Pages of an auto-vacuum file are of more kinds. */
function readFormat(file: number) {
  const header = Buffer.alloc(FILE_HEADER_BYTES);
  readSync(file, header, 0, FILE_HEADER_BYTES, 0);
  const size = header.readUInt16BE(16);
  const pageBytes = size === 1 ? 65_536 : size;
  const isKnown = header.readUInt32BE(52) === 0 && header.readUInt32BE(28) < MOST_PAGES && PIECE_BYTES % pageBytes === 0;
  return { pageBytes, usableBytes: pageBytes - header.readUInt8(20), isKnown };
}

/**
 * The unallocated region of a b-tree page, between the pointers to its cells and the first of them; undefined for one of another kind, and
 * for the first page, which begins with the header of the file and holds the schema.
 */
function slackOf(page: Buffer): Buffer | undefined {
  const headerBytes = PAGE_HEADER_BYTES.get(page[0]);
  if (headerBytes === undefined) return undefined;
  const from = headerBytes + 2 * page.readUInt16BE(3);
  const to = page.readUInt16BE(5);
  return from < to && to <= page.length ? page.subarray(from, to) : undefined;
}
