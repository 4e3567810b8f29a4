/** What the table `messages` is, by its definition. */
import { DatabaseSync } from 'node:sqlite';
import { AS_BY_DEFAULT } from '../../connection-options.ts';
import { tokensOf } from './sql-tokens.ts';

export interface Column {
  readonly name: string;
  readonly type: string;
  readonly isNotNull: boolean;
  /** SQL of its default; null where it has none. */
  readonly defaultValue: string | null;
  readonly isGenerated: boolean;
  readonly isPrimaryKey: boolean;
  readonly collation: string;
}

export interface Index {
  readonly name: string;
  readonly isUnique: boolean;
  readonly isPartial: boolean;
  /** SQL that makes it; null where it comes of the table's own definition. */
  readonly sql: string | null;
  /** Null where an expression is indexed. */
  readonly columns: readonly (string | null)[];
  readonly collations: readonly string[];
}

export interface Trigger {
  readonly name: string;
  readonly sql: string;
  readonly tokens: readonly string[];
}

export interface TableDefinition {
  readonly name: string;
  readonly isStrict: boolean;
  /** Of its CREATE TABLE. */
  readonly tokens: readonly string[];
  readonly columns: readonly Column[];
  readonly indexes: readonly Index[];
  /** On this table. */
  readonly triggers: readonly Trigger[];
  /** On other tables and views: what those on this one do can set them off. */
  readonly otherTriggers: readonly Trigger[];
}

/** `messages` as it is defined; undefined where there is no ordinary table of that name, in any letters. Throws SQLite's errors. */
export function readMessagesDefinition(database: DatabaseSync): TableDefinition | undefined {
  const { name, sql, strict } = database.prepare(`
    SELECT schema.name, sql, strict FROM sqlite_schema AS schema JOIN pragma_table_list('messages') AS list
    WHERE lower(schema.name) = 'messages' AND schema.type = 'table' AND list.schema = 'main' AND list.type = 'table'`).get() ?? {};
  if (typeof sql !== 'string') return undefined;
  return {
    name: String(name), isStrict: strict === 1, tokens: tokensOf(sql), columns: readColumns(database, sql), indexes: readIndexes(database),
    triggers: readTriggers(database, '='), otherTriggers: readTriggers(database, '<>'),
  };
}

function readTriggers(database: DatabaseSync, comparison: '=' | '<>'): Trigger[] {
  return database.prepare(`SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND lower(tbl_name) ${comparison} 'messages'`).all()
    .map(({ name, sql }) => ({ name: String(name), sql: String(sql), tokens: tokensOf(String(sql)) }));
}

/** https://sqlite.org/pragma.html#pragma_table_xinfo */
function readColumns(database: DatabaseSync, sql: string): Column[] {
  const columns = database.prepare(`
    SELECT name, type, "notnull", dflt_value, hidden, pk FROM pragma_table_xinfo('messages')`).all();
  const collations = collationsOf(sql);
  return columns.map(({ name, type, notnull, dflt_value, hidden, pk }, place) => ({
    name: String(name), type: String(type), isNotNull: notnull === 1, isGenerated: hidden !== 0, isPrimaryKey: pk !== 0,
    defaultValue: dflt_value === null ? null : String(dflt_value), collation: collations[place] ?? '',
  }));
}

/** Only an index tells by which collation its columns are compared: so of one on an empty copy of the table. */
function collationsOf(sql: string): string[] {
  const copy = new DatabaseSync(':memory:', AS_BY_DEFAULT);
  try {
    copy.exec(sql);
    const names = copy.prepare("SELECT group_concat(format('\"%w\"', name)) AS names FROM pragma_table_xinfo('messages')").get()?.['names'];
    copy.exec(`CREATE INDEX all_columns ON messages(${String(names)})`);
    return copy.prepare("SELECT coll FROM pragma_index_xinfo('all_columns') WHERE key").all().map((row) => String(row['coll']));
  } finally {
    copy.close();
  }
}

/** https://sqlite.org/pragma.html#pragma_index_xinfo */
function readIndexes(database: DatabaseSync): Index[] {
  const keys = database.prepare('SELECT name, coll FROM pragma_index_xinfo(?) WHERE key ORDER BY seqno');
  return database.prepare(`
    SELECT list.name, "unique", partial, sql FROM pragma_index_list('messages') AS list LEFT JOIN sqlite_schema USING (name)`).all()
    .map(({ name, unique, partial, sql }) => {
      const indexed = keys.all(String(name));
      return {
        name: String(name), isUnique: unique === 1, isPartial: partial === 1, sql: typeof sql === 'string' ? sql : null,
        columns: indexed.map((key) => (key['name'] === null ? null : String(key['name']).toLowerCase())),
        collations: indexed.map((key) => String(key['coll'])),
      };
    });
}
