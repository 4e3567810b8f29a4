/** The messages of a PostgreSQL as one side of a move. */
import { StartRefused, StorageUnavailable } from '../../errors.ts';
import type { Side, KeptMessage, TargetSide } from '../move/sides.ts';
import type { Row } from './answers.ts';
import type { Connection, Target } from './connection.ts';
import { ConnectionFailed, LoginRefused, PostgresError } from './failures.ts';
import { COUNT_STORED, COUNTED, listKept, TAKEN_OVER, takeOver } from './moving-sql.ts';
import { connectToPrimary, type Primary } from './primary.ts';
import { reasonOf } from './reasons.ts';
import { hasTables, makeTextIndex, openTables } from './tables.ts';

/** For a statement of thousands of messages on a server that has much else to do. */
const STATEMENT_TIMEOUT_MS = 60_000;
/** For the index of all texts: some minutes for ten million. */
const INDEX_TIMEOUT_MS = 3_600_000;
/** Most bytes of texts that are read at once, but for the last message. */
const MOST_BYTES = 8 * 1024 * 1024;
/** Longer messages could be stored, and not be read again: a row that comes from the server is bounded. */
const MOST_MESSAGE_BYTES = 8 * 1024 * 1024;
/**
 * Of what an index has of a message. An entry of a B-tree has 2,704 bytes (https://www.postgresql.org/docs/current/btree.html), which are
 * also for its header, an id, and for each text its length and its place at a multiple of four. What is longer may fit where it can be
 * compressed; only messages that POST /webhook refuses are.
 */
const MOST_KEY_BYTES = 2640;
/** Below the id of every message. */
const BEFORE_ALL = '0';
const NOT_NULL_VIOLATION = '23502';

/** Rejects with StartRefused where no server can be used, or has no messages of this service. */
export async function openPostgresSource(targets: readonly Target[]): Promise<Side> {
  const { connection } = await connectOnce(targets);
  try {
    if (await hasTables(connection)) return sideOf(connection, () => true);
    throw new StartRefused(['DATABASE_URL: the database has no tables of this service']);
  } catch (error) {
    await connection.close();
    throw error;
  }
}

/** Rejects with StartRefused where no server can be used. */
export async function openPostgresTarget(targets: readonly Target[]): Promise<TargetSide> {
  const { connection, origin } = await connectOnce(targets);
  try {
    return createTarget(connection, origin, await hasTables(connection));
  } catch (error) {
    await connection.close();
    throw error;
  }
}

const NO_SERVER = 'DATABASE_URL: no PostgreSQL can be used';

async function connectOnce(targets: readonly Target[]): Promise<Primary> {
  try {
    return await connectToPrimary(targets);
  } catch (error) {
    if (error instanceof LoginRefused || error instanceof ConnectionFailed) throw new StartRefused([`${NO_SERVER}: ${error.message}`]);
    if (error instanceof PostgresError) throw new StartRefused([`${NO_SERVER}: ${error.message}: ${error.serverMessage}`]);
    throw error;
  }
}

function createTarget(connection: Connection, origin: string, hadTables: boolean): TargetSide {
  let newest = 0;
  let isThere = hadTables;
  const side = sideOf(connection, () => isThere);
  return {
    ...side,
    refusalOf,
    begin: (taken) => attempt(async () => {
      await openTables(connection, origin, { withTextIndex: false });
      isThere = true;
      const stored = await countStored(connection);
      if (Number(stored['messages']) !== taken) throw new StartRefused([STORED_MEANWHILE]);
      newest = Number(stored['newest']);
    }),
    takeOver: (moved) => attempt(async () => {
      const { results, warnings } = await connection.run(takeOver(moved, newest, STATEMENT_TIMEOUT_MS), STATEMENT_TIMEOUT_MS);
      if (results.at(-1)?.command !== 'COMMIT') throw new StorageUnavailable('the database failed');
      // Committed here, and perhaps nowhere else: the next commit will wait for both.
      if (warnings.length > 0) throw new StorageUnavailable('the commit was not replicated');
      if (results[TAKEN_OVER]?.rows[0]?.['places'] !== null) throw new StorageUnavailable('the database failed');
      newest += moved.length;
    }),
    complete: () => attempt(() => makeTextIndex(connection, INDEX_TIMEOUT_MS)),
  };
}

const STORED_MEANWHILE = 'DATABASE_URL: somebody else stores messages in the database meanwhile: stop that, and begin again';

/** Says what a failure means: with StartRefused where somebody else has stored, otherwise with StorageUnavailable. */
async function attempt<Value>(work: () => Promise<Value>): Promise<Value> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof PostgresError && error.sqlstate === NOT_NULL_VIOLATION) throw new StartRefused([STORED_MEANWHILE]);
    if (error instanceof PostgresError || error instanceof ConnectionFailed) throw new StorageUnavailable(reasonOf(error));
    throw error;
  }
}

/** `isThere`: whether there are tables. */
function sideOf(connection: Connection, isThere: () => boolean): Side {
  return {
    count: () => attempt(async () => (isThere() ? Number((await countStored(connection))['messages']) : 0)),
    read: (after, most) => attempt(async () => {
      if (!isThere()) return [];
      const { results: [next] } = await connection.run([listKept(after ?? BEFORE_ALL, most, MOST_BYTES)], STATEMENT_TIMEOUT_MS);
      return (next?.rows ?? []).map(toKept);
    }),
    close: () => connection.close(),
  };
}

async function countStored(connection: Connection): Promise<Row> {
  const { results } = await connection.run(COUNT_STORED, STATEMENT_TIMEOUT_MS);
  return results[COUNTED]?.rows[0] ?? {};
}

function toKept(row: Row): KeptMessage {
  const { id, message_id, from_number, to_number, ts, text, received_at } = row;
  return {
    sequence: id ?? '', isUtf8: true, received_at: received_at ?? null,
    message: { message_id: message_id ?? '', from: from_number ?? '', to: to_number ?? '', ts: ts ?? '', text: text ?? null },
  };
}

function refusalOf({ message: { message_id, from, to, ts, text }, received_at, isUtf8 }: KeptMessage): string | null {
  const values = [message_id, from, to, ts, text ?? ''];
  if (!isUtf8) return 'bytes that are no UTF-8';
  if (values.some((value) => value.includes('\0'))) return 'U+0000 in a text';
  if (received_at !== null && !/^-?[0-9]+$/.test(received_at)) return 'a received_at that is no whole number';
  if (bytesOf([message_id, from, ts]) > MOST_KEY_BYTES) return 'too long a message_id, from_number or ts';
  return bytesOf(values) > MOST_MESSAGE_BYTES ? 'more bytes than a message may have' : null;
}

function bytesOf(values: readonly string[]): number {
  return values.reduce((bytes, value) => bytes + Buffer.byteLength(value), 0);
}
