import type { UnavailableReason } from '../errors.ts';
import type { Message } from '../message.ts';
import type { Background } from '../observe/background.ts';
import type { LogFields, LogLevel } from '../observe/log.ts';

/** How an accepted message ended. Whatever it is, the first version of its `message_id` is durable. */
export type AppendOutcome = 'stored' | 'duplicate' | 'conflicting_duplicate';

/** A place in the order of messages: by instant, then by the UTF-8 bytes of `message_id`. */
export interface Position {
  readonly instant: string;
  readonly message_id: string;
}

/** Filters that a message matches or not, whatever the others. Absent ones match everything. */
export interface MessageFilter {
  /** Exactly this id. */
  readonly message_id?: string;
  readonly from?: string;
  /** A substring of `text`: ASCII letters in either case, all else exact. */
  readonly q?: string;
}

/** Which messages a listing shows. */
export interface MessageQuery extends MessageFilter {
  /** Most items of the page, at least 1. */
  readonly limit: number;
  /** How many matching messages to skip, at least 0. */
  readonly offset: number;
  /** Skips what is not after this position. */
  readonly after?: Position;
  /** The order reversed. */
  readonly newestFirst?: boolean;
  /** Earliest instant, as `instantOf` writes it; inclusive. */
  readonly since?: string;
  /** Whether the page has the receipts of its items. */
  readonly withReceipts?: boolean;
}

export interface MessagePage {
  /** Ordered by instant, then by the UTF-8 bytes of `message_id`, or in the reverse of that. */
  readonly items: readonly Message[];
  /** How many messages match in all, those before the page included. */
  readonly total: number;
  /** The position of the last item where more match after it, else null. */
  readonly next: Position | null;
  /** One for each item, where they were asked for. */
  readonly receipts?: readonly Receipt[];
}

/** What is known of a message beyond its content. */
export interface Receipt {
  readonly sequence: Sequence;
  /** The server's time in milliseconds since 1970; null in rows that are older than that column. */
  readonly receivedAt: number | null;
}

/**
 * Where a message stands in the order in which all were stored: decimal digits, larger for each later one, never used twice, as text
 * because it may be larger than a JavaScript number is exact.
 */
export type Sequence = string;

/** Which messages to erase: exactly one of these. */
export type Erasure = { readonly from: string } | { readonly to: string } | { readonly message_id: string };

/** Stored messages in the order in which they were stored. */
export interface StoredQuery extends MessageFilter {
  /** Skips what is not after this. */
  readonly after: Sequence;
  /** Most items, at least 1. */
  readonly limit: number;
}

/** Most bytes of the items of a part of stored messages, in UTF-8; one item alone may have more. */
export const STORED_PART_BYTES = 64 * 1024;

export interface StoredMessages {
  readonly items: readonly (Receipt & { readonly message: Message })[];
  /** All up to here were looked at. */
  readonly through: Sequence;
  /** Whether nothing was stored after that when it was read. */
  readonly isAll: boolean;
}

/** How many messages the service received in a minute. */
export interface Arrivals {
  /** Minutes since 1970. */
  readonly minute: number;
  readonly count: number;
}

export interface Stats {
  readonly total: number;
  readonly senders: number;
  /** The ten senders with the most messages: by count descending, then by number ascending. */
  readonly topSenders: readonly { readonly from: string; readonly count: number }[];
  /** `ts` of the first and the last message by instant; null where there is none. */
  readonly firstTs: string | null;
  readonly lastTs: string | null;
}

/** Sizes in bytes; undefined where not known. */
export interface StorageSizes {
  readonly databaseBytes: number | undefined;
  readonly walBytes: number | undefined;
  /** What is kept beside the messages for reading. */
  readonly indexBytes: number | undefined;
  readonly freeDiskBytes: number | undefined;
}

export interface Engine {
  readonly name: 'sqlite' | 'postgresql';
  readonly version: string | undefined;
  /** Undefined where it is embedded. */
  readonly host: string | undefined;
  /** Whether it can be asked now. */
  readonly isConnected: boolean;
}

/**
 * Where messages are kept. Every adapter passes `test/storage/contract.ts`; nothing outside an adapter knows its
 * technology. What returns a promise, `sizes` and `close` aside, rejects with StorageUnavailable, and with nothing else.
 * `client` names whom a read is for, in any words: reads that wait are taken up client by client, and where too many do, the newest of the
 * client with the most of them is refused. Without, it is the service's own. No read waits for one that may take much longer.
 */
export interface Storage {
  /**
   * Makes the message durable exactly once. Resolves only after the commit is synced to disk, so what it says survives
   * a power cut. When it rejects, the message may be sent again; it is not acknowledged.
   */
  append(message: Message): Promise<AppendOutcome>;
  /**
   * Erases every message that matches and was stored before the call, durably: none of them is in any answer when it resolves, with how
   * many those were; what is left of them in files goes within a minute. `requestId` is noted with the count and the time, and nothing
   * else of them. In bounded steps: where it rejects some may be erased, and the same call again goes on. Repeats of what was erased are
   * answered as repeats, for ever.
   */
  erase(which: Erasure, requestId: string): Promise<number>;
  /** Whether an append would be queued now. False: it would reject at once. */
  hasRoom(): boolean;
  /** Every message whose append resolved before the call is seen; `items` and `total` are of one moment. */
  list(query: MessageQuery, client?: string): Promise<MessagePage>;
  stats(client?: string): Promise<Stats>;
  /**
   * A part of what was stored, in that order, bounded by `limit` and by STORED_PART_BYTES; every message whose append resolved before the
   * call is in one of the parts.
   */
  stored(query: StoredQuery, client?: string): Promise<StoredMessages>;
  /** Below the sequence of every message. */
  readonly beforeAll: Sequence;
  /** Not below the sequence of the message stored last, and below that of the next one. */
  newestSequence(client?: string): Promise<Sequence>;
  /**
   * Whether what was handed out in a generation, up to this sequence where one is given, still means the same: false after a restore
   * from before it.
   */
  holds(handedOut: { readonly generation: string; readonly sequence?: Sequence }, client?: string): Promise<boolean>;
  /** Messages received from a minute on (minutes since 1970): the minutes that have some, ascending. */
  arrivals(sinceMinute: number, client?: string): Promise<readonly Arrivals[]>;
  /**
   * Resolves where the storage answers and takes a durable write, or has taken one in the last ten seconds and none that failed since,
   * and nothing that costs no write tells otherwise. Stores no message.
   */
  probe(): Promise<void>;
  sizes(): Promise<StorageSizes>;
  /** Appends not yet answered. */
  queueDepth(): number;
  /** Reads not yet begun. */
  readsWaiting(): number;
  /** Stored messages that reads find by looking at each, as no index has them yet. */
  indexLag(): number;
  /** When the newest message was stored, in milliseconds since 1970; undefined where none was. */
  lastStoredAt(): number | undefined;
  /** What reads lack at the moment, in words for an operator; messages are stored all the same. */
  degraded(): readonly string[];
  /** A random name of this database since it was opened: what is handed out with it can be told from what another one has handed out. */
  readonly generation: string;
  /** Which database it is, and where; `version` and `host` as far as they are known. */
  engine(): Engine;
  /** Resolves when the storage will never accept again and the process has to be replaced; otherwise never. */
  readonly failure: Promise<UnavailableReason>;
  /** Answers what was appended, then lets go of the database. Later calls reject. */
  close(): Promise<void>;
}

export interface StorageOptions {
  /** Longest time for a read, waiting included, in milliseconds. */
  readonly queryTimeoutMs: number;
  /** Milliseconds since 1970; stamped on each stored batch. */
  readonly now: () => number;
  /** `keepMs`: messages received longer ago vanish; null: none do. `rememberMs`: for so long after that their ids are known. */
  readonly retention: { readonly keepMs: number | null; readonly rememberMs: number };
  readonly observer: StorageObserver;
}

/** What an adapter tells while it works. */
export interface StorageObserver {
  /** A batch is on disk; `seconds` is from handing it to the writer to its commit. */
  batchCommitted(messages: number, seconds: number): void;
  /** Something may have been stored by another receiver. */
  arrived(): void;
  /** The database is another server than before. */
  failedOver(): void;
  /** A commit was not acknowledged, as its replication was cut short. */
  replicationCut(): void;
  readonly failing: Background['failing'];
  /** Something an operator should read, such as the progress of an upgrade or the death of a thread. */
  notice(level: LogLevel, event: string, fields: LogFields): void;
}
