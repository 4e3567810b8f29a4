/** Makes the table `messages` anew where its definition is in the way (https://sqlite.org/lang_altertable.html, section 7). */
import type { DatabaseSync } from 'node:sqlite';
import { isCoarse, isInTheWay, isOwnColumn } from './judgement.ts';
import { OWN_ON_MESSAGES } from './own-objects.ts';
import type { Notice } from './schema.ts';
import { quoteName } from './sql-tokens.ts';
import { asText, TEXT_COLUMNS } from './stored-values.ts';
import type { Column, TableDefinition } from './table-definition.ts';

/** How often progress is told of, in rows. */
const TELL_EVERY_ROWS = 50_000;

const DEFINITIONS: Readonly<Record<string, string>> = {
  id: 'INTEGER PRIMARY KEY AUTOINCREMENT',
  message_id: 'TEXT UNIQUE NOT NULL',
  from_number: 'TEXT NOT NULL',
  to_number: 'TEXT NOT NULL',
  ts: 'TEXT NOT NULL',
  text: 'TEXT NULL',
  instant: 'TEXT',
  received_at: 'INTEGER',
};

/** SQL that is true of an id that can be kept. */
export const IS_WHOLE_NUMBER = 'id = CAST(id AS INTEGER)';

/**
 * Keeps every row, column, index and trigger, in one transaction: what goes are constraints. A row keeps its id where that is a whole
 * number and no row before it has it; others get new ones after the largest. Foreign keys have to be off. Throws SQLite's errors, and then
 * nothing is changed.
 */
export function rebuildMessages(database: DatabaseSync, table: TableDefinition, repairs: readonly string[], notice: Notice): void {
  notice('repairing', { table: 'messages', reasons: repairs });
  // Or else views that read the table would be looked at while it is gone.
  database.exec('PRAGMA legacy_alter_table = ON');
  database.exec('BEGIN IMMEDIATE');
  try {
    database.exec(`CREATE TABLE messages_anew(${definitionsOf(table).join(', ')})${table.isStrict ? ' STRICT' : ''}`);
    copyRows(database, table, notice);
    const newest = database.prepare("SELECT max(seq) AS seq FROM sqlite_sequence WHERE lower(name) IN ('messages', 'messages_anew')");
    newest.setReadBigInts(true);
    const { seq } = newest.get() ?? {};
    database.exec('DROP TABLE messages; ALTER TABLE messages_anew RENAME TO messages');
    if (typeof seq === 'bigint') database.exec(`UPDATE sqlite_sequence SET seq = ${seq} WHERE name = 'messages'`);
    for (const sql of keptObjects(table)) database.exec(sql);
    database.exec('COMMIT');
  } finally {
    if (database.isTransaction) database.exec('ROLLBACK');
    database.exec('PRAGMA legacy_alter_table = OFF');
  }
}

/** In the order that the columns have; of columns that are not this service's all but their constraints. */
function definitionsOf({ columns, indexes }: TableDefinition): string[] {
  const kept = indexes.filter((index) => index.sql === null && index.isUnique && !isInTheWay(index, columns) && index.columns.length > 0);
  return [
    ...columns.map((column) => {
      const name = column.name.toLowerCase();
      return isOwnColumn(column) ? `${name} ${DEFINITIONS[name]}` : definitionOf(column);
    }),
    ...kept.filter(({ columns: [first] }) => first !== 'message_id').map(({ columns: indexed }) =>
      `UNIQUE (${indexed.map((name) => quoteName(name ?? '')).join(', ')})`),
  ];
}

function definitionOf({ name, type, collation, isNotNull, defaultValue }: Column): string {
  const parts = [quoteName(name), type, `COLLATE ${quoteName(collation)}`, isNotNull ? 'NOT NULL' : ''];
  return [...parts, defaultValue === null ? '' : `DEFAULT (${defaultValue})`].join(' ');
}

/** In the order of the rows in the file: what has an id to keep first. */
function copyRows(database: DatabaseSync, { columns }: TableDefinition, notice: Notice): void {
  const rows = Number(database.prepare('SELECT count(*) AS rows FROM messages').get()?.['rows']);
  const names = columns.map(({ name }) => quoteName(name)).join(', ');
  const values = (id: string) => columns.map(({ name }) => {
    const column = name.toLowerCase();
    if (column === 'id') return id;
    return TEXT_COLUMNS.includes(column) ? asText(column) : quoteName(name);
  }).join(', ');
  let done = 0;
  database.function('told', () => {
    done += 1;
    if (done % TELL_EVERY_ROWS === 0) notice('upgrading', { rows_done: done, rows });
    return 1;
  });
  database.exec(`
    INSERT INTO messages_anew(${names}) SELECT ${values('CAST(id AS INTEGER)')} FROM messages NOT INDEXED
    WHERE ${IS_WHOLE_NUMBER} AND told() ON CONFLICT(id) DO NOTHING`);
  const copied = () => database.prepare('SELECT count(*) AS rows FROM messages_anew').get()?.['rows'];
  if (copied() === rows) return;
  database.exec(`
    INSERT INTO messages_anew(${names}) SELECT ${values('NULL')} FROM messages NOT INDEXED
    WHERE true ON CONFLICT(message_id) DO NOTHING`);
  if (copied() !== rows) throw new Error('rows would be lost: two have one message_id');
}

/** SQL of the indexes and triggers that go with the table; this service's own are made again by the upgrade. */
function keptObjects({ indexes, triggers }: TableDefinition): string[] {
  const kept = indexes.filter((index) => !isCoarse(index));
  return [...kept, ...triggers].filter(({ name }) => !OWN_ON_MESSAGES.includes(name)).flatMap(({ sql }) => sql ?? []);
}
