/** A database of many messages, as the service would have made it within the last half year. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { instantOf } from '../../../src/message.ts';
import { binaries, SUPERUSER } from '../../support/postgres.ts';
import { JITTER_MS, SPAN_MS } from '../fill.ts';
import { startService } from '../processes.ts';
import { inScope } from '../scope.ts';
import { show } from '../stage.ts';
import { random, randomMessage } from '../traffic.ts';
import type { Cluster, Database } from './clusters.ts';

const ROWS_PER_PIECE = 1000;
const PIECES_PER_REPORT = 500;
const COPY = 'COPY messages(id, message_id, from_number, to_number, ts, text, instant, received_at) FROM STDIN';

/** What the service keeps beside the messages, of all of them at once. */
const DERIVED = [
  'INSERT INTO senders SELECT from_number, count(*) FROM messages GROUP BY from_number ORDER BY from_number',
  `INSERT INTO instants SELECT characters, left(instant, characters) AS prefix, count(*)
    FROM messages CROSS JOIN (VALUES (10), (16)) AS lengths(characters) GROUP BY characters, prefix ORDER BY characters, prefix`,
  'INSERT INTO arrivals SELECT received_at / 60000 AS minute, count(*) FROM messages GROUP BY minute ORDER BY minute',
  `UPDATE inbox SET newest = (SELECT max(id) FROM messages), messages = (SELECT count(*) FROM messages),
    senders = (SELECT count(*) FROM senders)`,
];

/** Fills an empty database with so many messages by one COPY; indexes, and what is derived from the messages, come after it. */
export async function fill({ server }: Cluster, database: Database, rows: number, progress: (text: string) => void): Promise<void> {
  // The service makes its tables itself.
  await inScope(async (scope) => (await startService(scope, database.url)).end('SIGTERM'));
  const definitions = (await database.sql(`
    SELECT indexrelid::regclass, pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 'messages'::regclass AND NOT indisunique`))
    .split('\n').map((line) => line.split('|'));
  for (const [name] of definitions) await database.sql(`DROP INDEX ${name}`);
  await copyIn(['--host', server.socketFolder, '--port', String(server.port), '--dbname', database.name], rows, progress);
  const begin = performance.now();
  const done = (what: string) => progress(`${what} ${Math.round((performance.now() - begin) / 1000)} s after the rows`);
  for (const sql of DERIVED) await database.sql(sql);
  done('counted');
  // Whole again, as a definition of an index may have the separator of columns in it.
  for (const [name, ...definition] of definitions) {
    await database.sql(definition.join('|'));
    done(`made ${name}`);
  }
  for (const sql of ['VACUUM ANALYZE', 'CHECKPOINT']) await database.sql(sql);
  done('ready');
}

async function copyIn(connection: readonly string[], rows: number, progress: (text: string) => void): Promise<void> {
  const args = ['--no-psqlrc', '--quiet', '--set', 'ON_ERROR_STOP=1', '--username', SUPERUSER, ...connection, '--command', COPY];
  const child = spawn(join(binaries ?? '', 'psql'), args, { stdio: ['pipe', 'ignore', 'inherit'] });
  const ended = once(child, 'close');
  await pipeline(Readable.from(rowsOf(rows, progress)), child.stdin);
  const [code] = await ended;
  if (code !== 0) throw new Error(`psql ended with ${code}`);
}

/** In the text format of COPY. No text of these messages has a sign that it would have to escape. */
function* rowsOf(rows: number, progress: (text: string) => void): Generator<string> {
  const begin = Date.now() - SPAN_MS;
  for (let done = 0, pieces = 1; done < rows; pieces += 1) {
    const lines: string[] = [];
    for (; lines.length < ROWS_PER_PIECE && done < rows; done += 1) {
      const at = begin + Math.floor((done / rows) * SPAN_MS);
      const { message_id, from, to, ts, text } = randomMessage(at - Math.floor(random() * JITTER_MS));
      lines.push([done + 1, message_id, from, to, ts, text, instantOf(ts), at].join('\t'));
    }
    yield `${lines.join('\n')}\n`;
    if (pieces % PIECES_PER_REPORT === 0) progress(`filled ${show(done)} of ${show(rows)} rows`);
  }
}
