/**
 * The failures that cross layers. Each is mapped to the outside in one place: to HTTP in `http/reply.ts`, to an exit
 * status in `main.ts`.
 */

/** Why the storage could not do what was asked, in words that may be shown in the log and in readiness. */
export type UnavailableReason =
  | 'the queue is full'
  | 'too many reads are waiting'
  | 'a read waited too long'
  | 'a read took too long'
  | 'the read kept the log from being emptied'
  | 'a reader keeps the log from being emptied'
  | 'a reader failed'
  | 'the read index is being made'
  | 'the read index is damaged'
  | 'the read index was removed or replaced'
  | 'the read index cannot be removed'
  | 'the read index is too far behind'
  | 'the disk is full'
  | 'the disk is nearly full'
  | 'no row id is left'
  | 'the disk reports an error'
  | 'the database is read-only'
  | 'the database is locked by another process'
  | 'the database is damaged'
  | 'the database or its read index is damaged'
  | 'the database file was removed or replaced'
  | 'the database file was changed by another program'
  | 'the lock file was removed or replaced'
  | 'the file cannot be opened'
  | 'the database failed'
  | 'a sync to disk failed'
  | 'the writer thread died'
  | 'the indexer thread died'
  | 'the storage does not answer'
  | 'PostgreSQL does not answer'
  | 'PostgreSQL refuses the login'
  | 'PostgreSQL has no connection left'
  | 'PostgreSQL has to be changed first, as the log says'
  | 'no PostgreSQL server takes writes'
  | 'the tables are of another version'
  | 'the commit was not replicated'
  | 'the outcome of the commit is not known'
  | 'the storage is closed';

/** The storage could not do it now, or does not know that it did; the same call may work later, and is harmless where it had. */
export class StorageUnavailable extends Error {
  override readonly name = 'StorageUnavailable';
  readonly reason: UnavailableReason;

  constructor(reason: UnavailableReason) {
    super(reason);
    this.reason = reason;
  }
}

/** Something that an operator must mend before the service can start: exit status 1. Each problem says what to change. */
export class StartRefused extends Error {
  override readonly name = 'StartRefused';
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join('; '));
    this.problems = problems;
  }
}
