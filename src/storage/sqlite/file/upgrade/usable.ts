/** Whether a database can be used, and what has to be done to it first. */
import type { DatabaseSync } from 'node:sqlite';
import { StartRefused } from '../../../../errors.ts';
import { LAST_ID } from '../../row-ids.ts';
import { problemsOf, repairsOf } from './judgement.ts';
import { namesInTheWay, SCHEMA_VERSION, versionOfTables } from './own-objects.ts';
import { IS_WHOLE_NUMBER, rebuildMessages } from './rebuild.ts';
import { rehearse } from './rehearsal.ts';
import { APPLICATION_ID, bringUpToDate, defineSortKey, type Notice } from './schema.ts';
import { defineIsUtf8, SELECT_SAME_AS_TEXT } from './stored-values.ts';
import { readMessagesDefinition, type TableDefinition } from './table-definition.ts';

/** What a file is that can be used. */
export interface Usable {
  /** By which version its own tables were made; 0: it has none. */
  readonly version: number;
  /** Undefined where the file is empty. */
  readonly table: TableDefinition | undefined;
  /** Why the table has to be made anew; empty where it has not. */
  readonly repairs: readonly string[];
}

/** Throws StartRefused unless the file is empty, has a table that messages can be kept in, or is ours. Changes nothing. */
export function requireUsable(database: DatabaseSync, path: string): Usable {
  const require = createRequire(path);
  defineIsUtf8(database);
  defineSortKey(database);
  const version = versionOfTables(database);
  require(headerProblems(database, version));
  const table = readMessagesDefinition(database);
  if (version === undefined) throw new Error('a table of an unknown version was let pass');
  if (table === undefined) {
    require(absenceProblems(database));
    return { version, table, repairs: [] };
  }
  const usable = { version, table, repairs: repairsOf(table) };
  require(problemsOf(table));
  require([...inTheWay(database), ...rowProblems(database, usable)]);
  require(rehearsalProblems(database, usable));
  return usable;
}

/**
 * Throws StartRefused unless there are messages that can be read where they are, in the order of their `id`. Changes nothing. For SQL that
 * reads a value `asText` then.
 */
export function requireReadable(database: DatabaseSync, path: string): TableDefinition {
  const require = createRequire(path);
  defineIsUtf8(database);
  require(headerProblems(database, versionOfTables(database)));
  const table = readMessagesDefinition(database);
  if (table === undefined) {
    require(absenceProblems(database));
    throw new StartRefused([`DATABASE_URL: ${path} is empty`]);
  }
  require(problemsOf(table));
  require([
    ...(repairsOf(table).length > 0 && !isIdTheRowId(database) ? [NO_ORDER] : []),
    ...(database.prepare(SELECT_SAME_AS_TEXT).get() === undefined ? [] : [SAME_AS_TEXT]),
  ]);
  return table;
}

const NO_ORDER = 'has a table messages whose id is not its row id; start the service once on a copy, which mends that, and take the copy';

function isIdTheRowId(database: DatabaseSync): boolean {
  const list = database.prepare("SELECT wr FROM pragma_table_list('messages') WHERE schema = 'main'").get();
  return list?.['wr'] === 0 && database.prepare('SELECT 1 FROM messages WHERE id IS NOT rowid').get() === undefined;
}

function createRequire(path: string): (problems: readonly string[]) => void {
  return (problems) => {
    if (problems.length > 0) throw new StartRefused(problems.map((problem) => `DATABASE_URL: ${path} ${problem}`));
  };
}

/** Does what has to be done, so that it is of this version and holds what others have written. Throws SQLite's errors. */
export function makeUsable(database: DatabaseSync, { version, table, repairs }: Usable, notice: Notice): void {
  defineIsUtf8(database);
  if (table !== undefined && repairs.length > 0) rebuildMessages(database, table, repairs, notice);
  bringUpToDate(database, version, notice);
}

/** A dump that was loaded again has lost its header, and is known by its tables. */
function headerProblems(database: DatabaseSync, tables: number | undefined): string[] {
  const version = Number(readPragma(database, 'user_version'));
  const applicationId = readPragma(database, 'application_id');
  if (version > SCHEMA_VERSION) return [`was made by a newer version (schema ${version}, this one knows ${SCHEMA_VERSION})`];
  const isOurs = applicationId === APPLICATION_ID && version > 0;
  const isUnmarked = applicationId === 0 && (version === 0 || (tables ?? 0) > 0);
  if (!isOurs && !isUnmarked) return ['belongs to another application'];
  if (readPragma(database, 'encoding') !== 'UTF-8') return ['is not encoded in UTF-8; dump it and load it into a new file'];
  return tables === undefined
    ? ['has a table or view inbox, generations, hidden, remembered or erasures, names that this service needs, and not as this version ' +
      'knows them; rename it']
    : [];
}

function absenceProblems(database: DatabaseSync): string[] {
  const objects = database.prepare(`
    SELECT iif(type = 'table', 'virtual table', type) AS type, lower(name) AS name FROM sqlite_schema
    WHERE type IN ('table', 'view') AND substr(name, 1, 7) <> 'sqlite_'`).all();
  const taken = objects.find(({ name }) => name === 'messages');
  if (taken !== undefined) return [`has a ${String(taken['type'])} messages where a table is needed; rename it`];
  return objects.length === 0 ? [] : ['is a database of something else: it has no table messages'];
}

function inTheWay(database: DatabaseSync): string[] {
  const names = namesInTheWay(database);
  return names.length === 0 ? [] : [`has ${names.join(', ')}, names that this service needs; rename or drop what has them`];
}

/** What no repair can keep. */
function rowProblems(database: DatabaseSync, { version, table, repairs }: Usable): string[] {
  const exists = (sql: string) => database.prepare(sql).get() !== undefined;
  const isSequenceSpent = exists("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'") &&
    exists(`SELECT 1 FROM sqlite_sequence WHERE lower(name) = 'messages' AND seq >= ${LAST_ID}`);
  const isLastIdTaken = exists(`SELECT 1 FROM messages WHERE id = ${LAST_ID}`);
  const hasInstants = version === 0 && table?.columns.some(({ name }) => name.toLowerCase() === 'instant') === true;
  const mayHaveOthersRows = version < SCHEMA_VERSION || exists('SELECT 1 FROM messages WHERE instant IS NULL');
  return [
    ...(hasInstants && exists('SELECT 1 FROM messages WHERE instant <> sort_key(ts)')
      ? ['has a column instant of its own in its table messages, a name that this service needs; rename it'] : []),
    ...(repairs.length > 0 && exists(`SELECT 1 FROM messages WHERE id IS NOT NULL AND NOT ${IS_WHOLE_NUMBER}`)
      ? ['has messages whose id is no whole number, which would be lost; rename that column, and add a column id INTEGER'] : []),
    ...(mayHaveOthersRows && exists(SELECT_SAME_AS_TEXT)
      ? [SAME_AS_TEXT] : []),
    ...(isSequenceSpent || isLastIdTaken ? [NO_ID_LEFT] : []),
  ];
}

const SAME_AS_TEXT = 'has two messages of one message_id, if that is read as text (a NULL is an empty one); change or delete one of them';
const NO_ID_LEFT = `has no id left for another message, as ${LAST_ID} is given out; give that message a smaller one: ` +
  `UPDATE messages SET id = (SELECT ifnull(max(id), 0) + 1 FROM messages WHERE id < ${LAST_ID}) WHERE id = ${LAST_ID}; ` +
  "UPDATE sqlite_sequence SET seq = (SELECT max(id) FROM messages) WHERE name = 'messages'";

/** Of what only SQLite itself can tell. */
function rehearsalProblems(database: DatabaseSync, usable: Usable): string[] {
  try {
    rehearse(database, (copy) => makeUsable(copy, usable, () => {}));
    return [];
  } catch (error) {
    const others = [...usable.table?.indexes ?? [], ...usable.table?.triggers ?? []].filter(({ sql }) => sql !== null);
    const names = others.length === 0 ? '' : `; look at ${others.map(({ name }) => name).join(', ')}`;
    return [`would take no messages: ${error instanceof Error ? error.message : String(error)}${names}`];
  }
}

export function readPragma(database: DatabaseSync, name: string): unknown {
  return Object.values(database.prepare(`PRAGMA ${name}`).get() ?? {})[0];
}
