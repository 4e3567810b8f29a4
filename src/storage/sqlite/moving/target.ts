/** A file that messages are moved into: afterwards it is one like any other. */
import type { DatabaseSync } from 'node:sqlite';
import type { Side, TargetSide } from '../../move/sides.ts';
import { createTakeOver } from '../file/append.ts';
import { openForWriting } from '../file/open.ts';
import { resolveDatabasePath } from '../file/path.ts';
import { lockForThisProcess } from '../file/process-lock.ts';
import { inTransaction } from '../file/transaction.ts';
import { defineIsUtf8 } from '../file/upgrade/stored-values.ts';
import { isIndexOfAnotherDatabase } from '../indexing/identity.ts';
import { advised, hasContents, openReading, readingOf, type Reading } from './source.ts';

/** Transactions between two checkpoints: some hundred megabytes of log. */
const CHECKPOINT_EVERY = 10;

const NOTHING_YET: Reading = { count: async () => 0, read: async () => [], close: () => {} };

/** The file may be missing. Rejects with StartRefused where it is in use by a server, or has something else than messages. */
export async function openSqliteTarget(givenPath: string): Promise<TargetSide> {
  return await advised(givenPath, () => {
    const path = resolveDatabasePath(givenPath);
    const lock = lockForThisProcess(path);
    try {
      return createTarget(path, lock.release);
    } catch (error) {
      lock.release();
      throw error;
    }
  });
}

function createTarget(path: string, release: () => void): TargetSide {
  let reading = hasContents(path) ? openReading(path) : NOTHING_YET;
  let takeOver: TargetSide['takeOver'] = () => Promise.reject(new Error('the move has not begun'));
  const side: Side = {
    count: () => reading.count(),
    read: (after, most) => reading.read(after, most),
    async close() {
      reading.close();
      release();
    },
  };
  return {
    ...side,
    // PostgreSQL has nothing that this could not hold.
    refusalOf: () => null,
    begin: () => advised(path, () => {
      reading.close();
      reading = NOTHING_YET;
      const { database } = openForWriting(path, () => {}, (messages) => isIndexOfAnotherDatabase(messages, path));
      defineIsUtf8(database);
      reading = { ...readingOf(database, path), close: () => database.close() };
      takeOver = createTransactions(database, path);
    }),
    takeOver: (moved) => takeOver(moved),
    // The service makes its read index itself.
    complete: async () => {},
  };
}

function createTransactions(database: DatabaseSync, path: string): TargetSide['takeOver'] {
  const takeOver = createTakeOver(database);
  let transactions = 0;
  return (moved) => advised(path, () => {
    inTransaction(database, () => {
      if (takeOver(moved) !== moved.length) throw new Error('a message was there before');
    });
    transactions += 1;
    // Nobody else makes one (`openForWriting`).
    if (transactions % CHECKPOINT_EVERY === 0) database.exec('PRAGMA wal_checkpoint(TRUNCATE)');
  });
}
