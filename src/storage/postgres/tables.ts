/** The tables of a database: made by the first receiver that finds none, else asked what they are. */
import { randomBytes } from 'node:crypto';
import { StartRefused } from '../../errors.ts';
import type { Row } from './answers.ts';
import type { Connection, Statement } from './connection.ts';
import { PostgresError } from './failures.ts';
import {
  BEGIN, COMMIT, CREATE_TABLES, CREATE_TEXT_INDEX, enterGeneration, LOCK_SCHEMA, LOOK_AT_TABLES, readInbox, SCHEMA_VERSION,
} from './schema.ts';

const LOOK_TIMEOUT_MS = 2000;
/** Another receiver may be making them. */
const MAKE_TIMEOUT_MS = 30_000;
const GENERATION_BYTES = 8;
const INSUFFICIENT_PRIVILEGE = '42501';
const INVALID_SCHEMA_NAME = '3F000';
/** undefined_column, undefined_table. */
const OF_OTHERS = ['42703', '42P01'];
/** duplicate_table, unique_violation: made by another receiver in between. */
const MADE_MEANWHILE = ['42P07', '23505'];
const SCHEMA_FILE = 'scripts/postgres/schema.sql';

export interface Tables {
  /** The name of what positions are handed out in. */
  readonly generation: string;
  /** When the newest message was received, in milliseconds since 1970. */
  readonly lastStoredAt: number | undefined;
  /** Whether a search has an index; otherwise it looks at every text. */
  readonly hasTextIndex: boolean;
}

/**
 * Makes the tables where there are none, and begins a generation where the server is of another origin than before, or the table another
 * one, as it is after a dump was loaded. Throws StartRefused where somebody has to change something first, PostgresError and
 * ConnectionFailed.
 */
export async function openTables(connection: Connection, serverOrigin: string, { withTextIndex = true } = {}): Promise<Tables> {
  const run = async (statements: readonly Statement[], timeoutMs = LOOK_TIMEOUT_MS) =>
    (await connection.run(statements, timeoutMs)).results.map(({ rows }) => rows[0] ?? {});
  const look = async () => (await run([LOOK_AT_TABLES]))[0] ?? {};

  async function enter(origin: string): Promise<string> {
    const name = randomBytes(GENERATION_BYTES).toString('hex');
    const entered = await run([BEGIN, ...enterGeneration(name, origin), COMMIT]);
    // The last one is the COMMIT.
    return entered.at(-2)?.['generation'] ?? name;
  }

  let found = await look();
  if (found['inbox'] === null) {
    const isMade = await makeTables(connection);
    if (isMade && withTextIndex) await makeTextIndex(connection);
    found = await look();
  }
  const origin = `${serverOrigin}/${found['inbox'] ?? ''}`;
  const inbox = await requireInbox(connection, origin);
  const lastReceivedAt = inbox['last_received_at'];
  return {
    // Without a lock where it is known: a commit that waits for a standby has that, and reads go on meanwhile.
    generation: inbox['generation'] ?? await enter(origin),
    lastStoredAt: typeof lastReceivedAt === 'string' ? Number(lastReceivedAt) : undefined,
    hasTextIndex: found['text_index'] !== null,
  };
}

/** Whether there are tables. Throws StartRefused where they cannot be used, PostgresError and ConnectionFailed. */
export async function hasTables(connection: Connection): Promise<boolean> {
  const { results: [found] } = await connection.run([LOOK_AT_TABLES], LOOK_TIMEOUT_MS);
  if ((found?.rows[0]?.['inbox'] ?? null) === null) return false;
  await requireInbox(connection, '');
  return true;
}

/** The row of `inbox`, with the generation of `origin` where that is the newest one. */
async function requireInbox(connection: Connection, origin: string): Promise<Row> {
  const { results: [found] } = await connection.run([readInbox(origin)], LOOK_TIMEOUT_MS).catch(explainInbox);
  const inbox = found?.rows[0] ?? {};
  const version = Number(inbox['schema_version']);
  if (version === SCHEMA_VERSION) return inbox;
  throw new StartRefused([`DATABASE_URL: the database has tables of schema ${version}, and this version knows ${SCHEMA_VERSION} alone`]);
}

const isOfOthers = (table: string) =>
  `DATABASE_URL: the database has a table ${table} that is not of this service: name another database`;

/** Why the row of `inbox` cannot be read. */
function explainInbox(error: unknown): never {
  if (!(error instanceof PostgresError)) throw error;
  if (OF_OTHERS.includes(error.sqlstate)) throw new StartRefused([isOfOthers('inbox')]);
  if (error.sqlstate !== INSUFFICIENT_PRIVILEGE) throw error;
  throw new StartRefused([`DATABASE_URL: the user may not use the tables: let their owner run the GRANT that ${SCHEMA_FILE} names`]);
}

/** Whether it has made them, and not another receiver. */
async function makeTables(connection: Connection): Promise<boolean> {
  try {
    // A receiver that had to wait for the lock finds them made.
    const { results } = await connection.run([BEGIN, LOCK_SCHEMA, LOOK_AT_TABLES, COMMIT], MAKE_TIMEOUT_MS);
    const found = results[2]?.rows[0] ?? {};
    if (found['inbox'] !== null) return false;
    if (found['messages'] !== null) {
      throw new StartRefused([isOfOthers('messages')]);
    }
    await connection.run([BEGIN, LOCK_SCHEMA, ...CREATE_TABLES.map((sql) => ({ sql })), COMMIT], MAKE_TIMEOUT_MS);
    return true;
  } catch (error) {
    if (!(error instanceof PostgresError)) throw error;
    if ([INSUFFICIENT_PRIVILEGE, INVALID_SCHEMA_NAME].includes(error.sqlstate)) {
      throw new StartRefused([`DATABASE_URL: the user may not create tables: let the owner of the database run ${SCHEMA_FILE}`]);
    }
    if (!MADE_MEANWHILE.includes(error.sqlstate)) throw error;
    return false;
  }
}

/** Where it cannot be had, or is there, nothing is done: searches do without. Throws ConnectionFailed. */
export async function makeTextIndex(connection: Connection, timeoutMs = MAKE_TIMEOUT_MS): Promise<void> {
  try {
    await connection.run([BEGIN, ...CREATE_TEXT_INDEX.map((sql) => ({ sql })), COMMIT], timeoutMs);
  } catch (error) {
    if (!(error instanceof PostgresError)) throw error;
  }
}
