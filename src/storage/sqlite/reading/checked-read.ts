import { StorageUnavailable, type UnavailableReason } from '../../../errors.ts';
import type { Ask } from '../../reads.ts';
import type { StorageObserver } from '../../storage.ts';
import type { Indexer } from '../indexing/indexer.ts';
import { usesIndex } from './queries.ts';

/** Why a read failed that has met damage where it uses the index. */
const SUSPICIOUS: UnavailableReason = 'the database or its read index is damaged';
/** Reasons of a failed read that lie with the storage, and not with how much it is asked. */
const READ_FAULTS: ReadonlySet<UnavailableReason> = new Set([
  SUSPICIOUS, 'a reader failed', 'the disk reports an error', 'the file cannot be opened', 'the database is locked by another process',
  'the database is damaged', 'the database failed',
]);
/** A failure has ended when no read has failed for so long. */
const FAULT_LASTS_MS = 10_000;

/** Refuses reads that need an index where there is none, and tells what became of the others. */
export function createCheckedRead(ask: Ask, indexer: Indexer, observer: StorageObserver): Ask {
  const noteFault = createNoteFault(observer);
  return async (question, client) => {
    const unusable = usesIndex(question) ? indexer.unusable() : undefined;
    if (unusable !== undefined) throw new StorageUnavailable(unusable);
    try {
      return await ask(question, client);
    } catch (error) {
      if (!(error instanceof StorageUnavailable)) throw error;
      if (READ_FAULTS.has(error.reason)) noteFault(error.reason);
      if (error.reason === SUSPICIOUS) indexer.distrust();
      throw error;
    } finally {
      indexer.readEnded();
    }
  };
}

/** Tells when reads begin to fail, and when none has for a while: some succeed while others fail, as they need other pages. */
function createNoteFault({ failing }: StorageObserver): (reason: UnavailableReason) => void {
  let timer: NodeJS.Timeout | undefined;
  return (reason) => {
    failing('reader', reason);
    clearTimeout(timer);
    timer = setTimeout(() => failing('reader', null), FAULT_LASTS_MS).unref();
  };
}
