/** The messages of a file, read where they are: nothing of it is changed, whatever its schema. */
import { isUtf8 } from 'node:buffer';
import { statSync } from 'node:fs';
import { DatabaseSync, type SQLOutputValue, type StatementSync } from 'node:sqlite';
import { StartRefused } from '../../../errors.ts';
import type { Side, KeptMessage } from '../../move/sides.ts';
import { AS_BY_DEFAULT, BUSY_TIMEOUT_MS } from '../connection-options.ts';
import { adviceFor } from '../file/advice.ts';
import { isVisible, readHiddenNow } from '../file/hidden.ts';
import { resolveDatabasePath } from '../file/path.ts';
import { lockForThisProcess } from '../file/process-lock.ts';
import { asText, TEXT_COLUMNS } from '../file/upgrade/stored-values.ts';
import { requireReadable } from '../file/upgrade/usable.ts';
import { BEFORE_ALL_IDS } from '../row-ids.ts';

/** Most of the texts of messages that are read at once, in UTF-16 units, but for the last one. */
const MOST_UNITS = 8 * 1024 * 1024;
/** What stands for bytes that are no UTF-8 where SQLite's text is read; and for itself. */
const REPLACEMENT_CHARACTER = '\ufffd';

/** What can be read of a file. */
export type Reading = Omit<Side, 'close'> & { close(): void };

/** Rejects with StartRefused where the file is not there, is in use by a server, or has no messages that could be read. */
export async function openSqliteSource(givenPath: string): Promise<Side> {
  return await advised(givenPath, () => {
    const path = resolveDatabasePath(givenPath);
    if (!hasContents(path)) throw new StartRefused([`DATABASE_URL: ${path} does not exist, or is empty`]);
    const lock = lockForThisProcess(path);
    try {
      const reading = openReading(path);
      return {
        ...reading,
        async close() {
          reading.close();
          lock.release();
        },
      };
    } catch (error) {
      lock.release();
      throw error;
    }
  });
}

export const hasContents = (path: string) => (statSync(path, { throwIfNoEntry: false })?.size ?? 0) > 0;

/** What an operator has to mend is said as such; resolves with what `work` returns. */
export async function advised<Value>(path: string, work: () => Value): Promise<Value> {
  try {
    return work();
  } catch (error) {
    const advice = adviceFor(error, path);
    throw advice === undefined ? error : new StartRefused([`DATABASE_URL: ${advice}`]);
  }
}

/** Opens a file that has contents. Throws StartRefused, and SQLite's errors. */
export function openReading(path: string): Reading {
  const database = new DatabaseSync(path, { ...AS_BY_DEFAULT, readOnly: true, timeout: BUSY_TIMEOUT_MS });
  try {
    const { columns } = requireReadable(database, path);
    const hasTimes = columns.some(({ name }) => name.toLowerCase() === 'received_at');
    return { ...readingOf(database, path, hasTimes), close: () => database.close() };
  } catch (error) {
    database.close();
    throw error;
  }
}

/**
 * Of a connection in which `defineIsUtf8` was called, to a file in which nobody hides messages meanwhile: those that are hidden are none of
 * its messages any more. `hasTimes`: whether there is a column `received_at`.
 */
export function readingOf(database: DatabaseSync, path: string, hasTimes = true): Omit<Reading, 'close'> {
  const visible = isVisible('messages.id', readHiddenNow(database));
  const next = database.prepare(`
    SELECT CAST(id AS TEXT) AS sequence, ${TEXT_COLUMNS.map((column) => `${asText(column)} AS ${column}`).join(', ')},
      ${hasTimes ? 'CAST(received_at AS TEXT)' : 'NULL'} AS received_at
    FROM messages WHERE id > ? AND ${visible} ORDER BY id LIMIT ?`);
  const bytes = database.prepare(`
    SELECT ${TEXT_COLUMNS.map((column) => `CAST(${asText(column)} AS BLOB) AS ${column}`).join(', ')} FROM messages WHERE id = ?`);
  return {
    count: () => advised(path, () =>
      Number(database.prepare(`SELECT count(*) AS messages FROM messages WHERE ${visible}`).get()?.['messages'])),
    read: (after, most) => advised(path, () => {
      const moved: KeptMessage[] = [];
      let units = 0;
      for (const row of next.iterate(after === null ? BEFORE_ALL_IDS : BigInt(after), most)) {
        const one = toKept(row, bytes);
        moved.push(one);
        units += one.message.text?.length ?? 0;
        if (units >= MOST_UNITS) break;
      }
      return moved;
    }),
  };
}

function toKept(row: Record<string, SQLOutputValue>, bytes: StatementSync): KeptMessage {
  const sequence = String(row['sequence']);
  const text = textOrNull(row['text']);
  const [message_id, from, to, ts] = [String(row['message_id']), String(row['from_number']), String(row['to_number']), String(row['ts'])];
  const mayBeOdd = [message_id, from, to, ts, text ?? ''].some((value) => value.includes(REPLACEMENT_CHARACTER));
  return {
    sequence, message: { message_id, from, to, ts, text }, received_at: textOrNull(row['received_at']),
    isUtf8: !mayBeOdd || Object.values(bytes.get(BigInt(sequence)) ?? {}).every((value) => !(value instanceof Uint8Array) || isUtf8(value)),
  };
}

const textOrNull = (value: SQLOutputValue | undefined) => (value === null || value === undefined ? null : String(value));
