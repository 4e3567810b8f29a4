/** What is in a database, past the service that serves it. */
import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import { verify } from '../../src/storage/sqlite/care/verify.ts';
import { countVisible, IN_ANY_WAY, isVisible } from '../../src/storage/sqlite/file/hidden.ts';
import { type Postgres, SUPERUSER } from './postgres.ts';

/** Of messages that are not hidden; those of a PostgreSQL never are. */
export interface StoredRows {
  readonly databaseUrl: string;
  ids(): Promise<ReadonlySet<string>>;
  countFrom(sender: string): Promise<number>;
  /** Milliseconds since 1970. */
  countReceivedBefore(time: number): Promise<number>;
  /** How many things are wrong beside the rows: what is counted of them, or derived. */
  countProblems(): Promise<number>;
}

const VISIBLE = isVisible('messages.id', IN_ANY_WAY);

/** What a query on a file gives that others may write to. */
export function select(path: string, sql: string, ...parameters: readonly SQLInputValue[]) {
  const database = new DatabaseSync(path, { readOnly: true, timeout: 5000 });
  try {
    return database.prepare(sql).all(...parameters);
  } finally {
    database.close();
  }
}

/** Of messages, hidden ones too. */
export const countRows = (path: string): unknown => select(path, 'SELECT count(*) AS rows FROM messages')[0]?.['rows'];

/** Of the messages that a condition in SQL is true of. */
export const idsIn = (path: string, condition: string): ReadonlySet<string> =>
  new Set(select(path, `SELECT message_id FROM messages WHERE ${condition}`).map(({ message_id }) => String(message_id)));

export const visibleIdsIn = (path: string): ReadonlySet<string> => idsIn(path, VISIBLE);

export function rowsOfFile(path: string): StoredRows {
  const count = (condition: string, ...parameters: readonly SQLInputValue[]) =>
    Number(select(path, `SELECT count(*) AS rows FROM messages WHERE ${condition} AND ${VISIBLE}`, ...parameters)[0]?.['rows']);
  return {
    databaseUrl: path,
    ids: async () => visibleIdsIn(path),
    countFrom: async (sender) => count('from_number = ?', sender),
    countReceivedBefore: async (time) => count('received_at < ?', time),
    async countProblems() {
      const [row] = select(path, `SELECT messages = ${countVisible()} AS is_right FROM inbox`);
      return (await verify(path, { tell() {}, say() {} })).problems + (row?.['is_right'] === 1 ? 0 : 1);
    },
  };
}

export function rowsOfPostgres(server: Postgres, database: string): StoredRows {
  const count = async (condition: string) => Number(await server.sql(`SELECT count(*) FROM messages WHERE ${condition}`, database));
  return {
    databaseUrl: `postgresql://${SUPERUSER}@${server.host}:${server.port}/${database}`,
    ids: async () => new Set((await server.sql('SELECT message_id FROM messages', database)).split('\n').filter((id) => id !== '')),
    countFrom: (sender) => count(`from_number = '${sender}'`),
    countReceivedBefore: (time) => count(`received_at < ${time}`),
    countProblems: async () => (await wrongCountsOf(server, database) === '' ? 0 : 1),
  };
}

const differs = (table: string, counted: string) =>
  `EXISTS ((TABLE ${table} EXCEPT ALL ${counted}) UNION ALL (${counted} EXCEPT ALL TABLE ${table}))`;

/** What is counted beside the messages, each in the same moment as they are: the tables that say something else. */
export async function wrongCountsOf(server: Postgres, database: string): Promise<string> {
  return await server.sql(`SELECT concat_ws(' ',
    CASE WHEN (SELECT (messages, senders) FROM inbox) <> (SELECT (count(*), count(DISTINCT from_number)) FROM messages) THEN 'inbox' END,
    CASE WHEN ${differs('senders', 'SELECT from_number, count(*) FROM messages GROUP BY 1')} THEN 'senders' END,
    CASE WHEN ${differs('instants', `SELECT characters::smallint, left(instant, characters) COLLATE "C", count(*)
      FROM messages CROSS JOIN (VALUES (10), (16)) AS lengths(characters) GROUP BY 1, 2`)} THEN 'instants' END,
    CASE WHEN ${differs('arrivals', 'SELECT received_at / 60000, count(*) FROM messages WHERE received_at IS NOT NULL GROUP BY 1')} THEN 'arrivals' END)`,
  database);
}
