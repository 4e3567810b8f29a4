/** Whether a file can be used, judged by its definitions alone, and what has to be made anew in it first. */
import { OWN_ON_MESSAGES, REFERENCE_COLUMNS } from './own-objects.ts';
import { quoteName } from './sql-tokens.ts';
import { TEXT_COLUMNS } from './stored-values.ts';
import type { Column, Index, TableDefinition, Trigger } from './table-definition.ts';

/** The columns that this service adds, with the one type that each may have. */
const ADDED_COLUMNS: Readonly<Record<string, string>> = { instant: 'TEXT', received_at: 'INTEGER' };
const OWN_COLUMNS = [...REFERENCE_COLUMNS, ...Object.keys(ADDED_COLUMNS)];
export const isOwnColumn = ({ name }: Pick<Column, 'name'>) => OWN_COLUMNS.includes(name.toLowerCase());

/** Why messages cannot be kept in the table, and would not be after it was made anew either: each with what to do. */
export function problemsOf(table: TableDefinition): string[] {
  const { columns, indexes, triggers, otherTriggers } = table;
  const names = columns.map(({ name }) => name.toLowerCase());
  const missing = REFERENCE_COLUMNS.filter((column) => !names.includes(column));
  if (missing.length > 0) return [`has a table messages without ${missing.join(', ')}`];
  const generated = columns.filter((column) => column.isGenerated && (isOwnColumn(column) || repairsOf(table).length > 0));
  const others = columns.filter(({ name, type }) => type.toUpperCase() !== (ADDED_COLUMNS[name.toLowerCase()] ?? type.toUpperCase()));
  const mandatory = columns.filter((column) =>
    !isOwnColumn(column) && column.isNotNull && column.defaultValue === null && !column.isGenerated);
  const refusing = indexes.filter((index) => index.sql !== null && isInTheWay(index, columns));
  const othersOnMessages = triggers.filter((trigger) => !OWN_ON_MESSAGES.includes(trigger.name));
  const acting = [...othersOnMessages, ...(othersOnMessages.length > 0 ? otherTriggers : [])].filter(canRefuseOrChange);
  return [
    ...list(generated, (them) => `has a generated column ${them} in its table messages; make it a plain one`),
    ...list(others, (them) => `has a column ${them} of its own in its table messages, a name that this service needs; rename it`),
    ...list(mandatory, (them) => `has a table messages that wants a value for ${them}`),
    ...(indexes.some(isOfIdAlone) ? [] : ['has a table messages whose message_id is not unique']),
    ...refusing.map(({ name, columns: indexed, isPartial }) => `has a unique index on ${
      indexed.map((column) => column ?? 'an expression').join(',')}${isPartial ? ' (partial)' : ''
    }, which would refuse messages; drop it: DROP INDEX ${quoteName(name)}`),
    ...acting.map(({ name }) => `has a trigger that can refuse or change messages; drop it: DROP TRIGGER ${quoteName(name)}`),
  ];
}

/** What a table that messages can be kept in has otherwise: it has to be made anew. Empty where nothing is in the way. */
export function repairsOf({ name, tokens, columns, indexes }: TableDefinition): string[] {
  const texts = columns.filter((column) => [...TEXT_COLUMNS, 'instant'].includes(column.name.toLowerCase()));
  const isIdCounted = tokens.includes('autoincrement') && columns.some((column) => column.name === 'id' && column.isPrimaryKey);
  return [
    ...list([{ name }, ...columns].filter((named) => (named.name === name || isOwnColumn(named)) && /[A-Z]/.test(named.name)),
      (them) => `the letters of ${them}`),
    ...(isIdCounted ? [] : ['id is no INTEGER PRIMARY KEY AUTOINCREMENT']),
    ...list(texts.filter(({ type }) => !isTextType(type)), (them) => `the type of ${them}`),
    ...list(texts.filter(({ collation }) => collation !== 'BINARY'), (them) => `the collation of ${them}`),
    ...list(texts.filter((column) => column.name.toLowerCase() === 'text' && column.isNotNull), () => 'text is NOT NULL'),
    ...list(indexes.filter(isCoarse), (them) => `the collation of ${them}`),
    ...(indexes.some((index) => index.sql === null && isInTheWay(index, columns)) ? ['a key that messages would have to keep'] : []),
    ...(['check', 'conflict'].filter((word) => tokens.includes(word)).map((word) => (word === 'check' ? 'a CHECK' : 'an ON CONFLICT'))),
  ];
}

/** A sentence about these by name, where there are any. */
function list(found: readonly { readonly name: string }[], say: (names: string) => string): string[] {
  return found.length === 0 ? [] : [say(found.map(({ name }) => name).join(', '))];
}

/** https://sqlite.org/datatype3.html#determination_of_column_affinity */
const isTextType = (type: string) => !/INT/i.test(type) && /CHAR|CLOB|TEXT/i.test(type);

/** Keeps each `message_id` from being stored twice. */
function isOfIdAlone({ isUnique, isPartial, columns }: Index): boolean {
  return isUnique && !isPartial && columns.length === 1 && columns[0] === 'message_id';
}

/** Takes different ids for one. */
export function isCoarse(index: Index): boolean {
  return isOfIdAlone(index) && index.collations[0] !== 'BINARY';
}

/** Whether it can refuse a message that is stored for the first time: not where a column is part of it that stays NULL. */
export function isInTheWay(index: Index, columns: readonly Column[]): boolean {
  const staysNull = (name: string | null) => columns.some((column) =>
    column.name.toLowerCase() === name && !isOwnColumn(column) && !column.isGenerated && column.defaultValue === null);
  return index.isUnique && !isOfIdAlone(index) && !index.columns.some(staysNull);
}

/** In a trigger, in SQL without quotes. */
const REFUSES_OR_CHANGES = /\braise \(|\b(?:(?:insert|replace)(?: or \w+)? into|update(?: or \w+)?|delete from) messages\b/;

function canRefuseOrChange({ tokens }: Trigger): boolean {
  return REFUSES_OR_CHANGES.test(tokens.join(' ').replaceAll('"', ''));
}
