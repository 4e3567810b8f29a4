/**
 * What this service keeps in the file beside the table `messages`. All of it is known by its definition, as the header of a file, which
 * names its application and version, does not survive a dump that is loaded again.
 */
import type { DatabaseSync } from 'node:sqlite';
import { tokensOf } from './sql-tokens.ts';

/** The version of a file that this version made or upgraded. */
export const SCHEMA_VERSION = 4;

/** The columns of the reference schema, which programs that read such a file rely on. */
export const REFERENCE_COLUMNS = ['id', 'message_id', 'from_number', 'to_number', 'ts', 'text'];

/** The columns of the own tables, by version: the names that a file of someone else's must not have. */
const OWN_TABLES: Readonly<Record<number, Readonly<Record<string, string>>>> = {
  1: { inbox: 'only_row,messages,senders,probed_at', senders: 'from_number,messages' },
  2: { inbox: 'only_row,generation,edits,probed_at' },
  3: { inbox: 'only_row,messages,edits,probed_at', generations: 'number,generation,begins_after' },
  4: {
    inbox: 'only_row,messages,edits,probed_at,id_key,vanished,expired_after,expired_through,undated,expired_removed,erased_removed',
    generations: 'number,generation,begins_after', hidden: 'id,number', remembered: 'hash,until', erasures: 'number,at,request_id,messages',
  },
};

export const CREATE_TABLES: Readonly<Record<string, string>> = {
  generations: `
    CREATE TABLE generations(number INTEGER PRIMARY KEY, generation TEXT UNIQUE NOT NULL, begins_after INTEGER NOT NULL)`,
  inbox: `
    CREATE TABLE inbox(
      only_row INTEGER PRIMARY KEY CHECK (only_row = 1), messages INTEGER, edits INTEGER NOT NULL, probed_at INTEGER NOT NULL,
      id_key BLOB NOT NULL, vanished INTEGER NOT NULL, expired_after INTEGER NOT NULL, expired_through INTEGER NOT NULL,
      undated INTEGER NOT NULL, expired_removed INTEGER NOT NULL, erased_removed INTEGER NOT NULL
    )`,
  hidden: 'CREATE TABLE hidden(id INTEGER PRIMARY KEY, number INTEGER UNIQUE NOT NULL)',
  remembered: 'CREATE TABLE remembered(hash BLOB PRIMARY KEY, until INTEGER) WITHOUT ROWID',
  erasures: `
    CREATE TABLE erasures(
      number INTEGER PRIMARY KEY, at INTEGER NOT NULL, request_id TEXT NOT NULL, messages INTEGER NOT NULL
    )`,
};

export const CREATE_INDEX: Readonly<Record<string, string>> = {
  messages_by_instant: 'CREATE INDEX messages_by_instant ON messages(instant, message_id)',
};

export const CREATE_TRIGGERS: Readonly<Record<string, string>> = {
  count_deletions: `
    CREATE TRIGGER count_deletions AFTER DELETE ON messages BEGIN
      UPDATE inbox SET edits = edits + 1, messages = messages - iif(
        EXISTS (SELECT 1 FROM hidden WHERE hidden.id = OLD.id)
        OR (OLD.id > expired_after AND OLD.id <= expired_through AND OLD.received_at IS NOT NULL), 0, 1);
    END`,
  count_updates: `
    CREATE TRIGGER count_updates AFTER UPDATE OF ${REFERENCE_COLUMNS.join(', ')} ON messages BEGIN
      UPDATE inbox SET edits = edits + 1;
      UPDATE messages SET instant = NULL WHERE id = NEW.id;
    END`,
  notice_insertions: `
    CREATE TRIGGER notice_insertions AFTER INSERT ON messages WHEN NEW.instant IS NULL BEGIN
      UPDATE inbox SET messages = NULL, edits = edits + 1;
    END`,
};

/** By version: own objects that the next one defines otherwise, while all else of it stays as it is. */
const EARLIER_OBJECTS: Readonly<Record<number, Readonly<Record<string, string>>>> = {
  3: {
    inbox: `
      CREATE TABLE inbox(
        only_row INTEGER PRIMARY KEY CHECK (only_row = 1), messages INTEGER, edits INTEGER NOT NULL, probed_at INTEGER NOT NULL
      )`,
    count_deletions: `
      CREATE TRIGGER count_deletions AFTER DELETE ON messages BEGIN
        UPDATE inbox SET messages = messages - 1, edits = edits + 1;
      END`,
  },
};

const OWN_OBJECTS = { ...CREATE_TABLES, ...CREATE_INDEX, ...CREATE_TRIGGERS };
/** Names of what this version makes on `messages`. */
export const OWN_ON_MESSAGES = [...Object.keys(CREATE_INDEX), ...Object.keys(CREATE_TRIGGERS)];

interface Found {
  readonly name: string;
  readonly type: string;
  readonly table: string;
  readonly sql: string;
}

function readObjects(database: DatabaseSync): Found[] {
  return database.prepare('SELECT lower(name) AS name, type, lower(tbl_name) AS "table", ifnull(sql, \'\') AS sql FROM sqlite_schema').all()
    .map(({ name, type, table, sql }) => ({ name: String(name), type: String(type), table: String(table), sql: String(sql) }));
}

/**
 * By which version the own tables of a file were made: 0 where it has none, undefined where one of that name is none of any version that
 * is known here. Throws SQLite's errors.
 */
export function versionOfTables(database: DatabaseSync): number | undefined {
  const columnsOf = database.prepare('SELECT group_concat(name) AS columns FROM pragma_table_info(?)');
  const names = [...new Set(Object.values(OWN_TABLES).flatMap(Object.keys))];
  const found = readObjects(database).filter(({ name, type }) => type !== 'trigger' && names.includes(name));
  // A name that only an earlier version has used may be someone else's.
  const known = found.filter(({ name }) => name in CREATE_TABLES);
  if (known.length === 0) return 0;
  const version = Object.entries(OWN_TABLES).toReversed().find(([, tables]) =>
    known.every(({ name, type }) => type === 'table' && columnsOf.get(name)?.['columns'] === tables[name]));
  return version === undefined ? undefined : Number(version[0]);
}

/** Names that this service needs and that another object has. */
export function namesInTheWay(database: DatabaseSync): string[] {
  return readObjects(database).filter(({ name, table }) =>
    (OWN_ON_MESSAGES.includes(name) ? table !== 'messages' : name in CREATE_TABLES && table !== name)).map(({ name }) => name);
}

/** The own objects of this version, or of the one before it, that are missing, or defined otherwise. */
export function unlikeDefined(database: DatabaseSync, version: number = SCHEMA_VERSION): string[] {
  const found = new Map(readObjects(database).map(({ name, sql }) => [name, sql]));
  const added = Object.keys(OWN_TABLES[SCHEMA_VERSION] ?? {}).filter((name) => !(name in (OWN_TABLES[version] ?? {})));
  return Object.entries({ ...OWN_OBJECTS, ...EARLIER_OBJECTS[version] }).filter(([name, sql]) =>
    !added.includes(name) && tokensOf(found.get(name) ?? '').join() !== tokensOf(sql).join()).map(([name]) => name);
}
