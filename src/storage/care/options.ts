/** What is asked of the care of a database, and what comes of it. */
import type { LogFields } from '../../observe/log.ts';

/** Tells of the progress of something long: a step, and how much of it is `done` of about how much. Cheap to call often. */
export type TellProgress = (step: string, amount: Amount) => void;

export interface Amount {
  readonly unit: 'bytes' | 'messages';
  readonly done: number;
  readonly of: number;
}

export interface CareOptions {
  readonly tell: TellProgress;
  /** Ends it before; nothing half made is left behind then. */
  readonly signal: AbortSignal;
}

export interface BackupOptions extends CareOptions {
  /** A name that is not taken, or a folder, which is made where it ends in a slash: then the name has the time in it. */
  readonly target: string;
  /** Backups in the folder that are older go; null: none do. */
  readonly keepDays: number | null;
  /** Milliseconds since 1970. */
  readonly now: number;
}

/** A copy of one moment, that was looked at and is on disk. */
export interface Backup {
  readonly file: string;
  readonly bytes: number;
  /** Of the file, in hex. */
  readonly sha256: string;
  readonly messages: number;
  readonly newest_sequence: string;
  /** How many older ones went. */
  readonly removed: number;
}

export interface RestoreOptions extends CareOptions {
  readonly source: string;
  /** Milliseconds since 1970. */
  readonly now: number;
}

export interface Restored {
  readonly file: string;
  readonly messages: number;
  readonly newest_sequence: string;
  /**
   * How many messages of the backup are not in it, as they were erased since; null where what was replaced cannot tell: there was
   * nothing, or it is damaged, of another database or of an earlier schema.
   */
  readonly erased_since: number | null;
  /** Where what it has replaced is; null where there was nothing. */
  readonly replaced: string | null;
}

export interface VerifyOptions extends Pick<CareOptions, 'tell'> {
  /** Told of each problem, in words that repeat nothing of any message. */
  readonly say: (problem: string) => void;
}

export interface Verified extends LogFields {
  /** How many were said. */
  readonly problems: number;
}
