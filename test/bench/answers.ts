import { DatabaseSync } from 'node:sqlite';
import { get } from './processes.ts';
import { sinceInstant } from './read-kinds.ts';
import { COMMON_WORD } from './traffic.ts';

/** Asks the service and SQLite itself the same, and returns where they differ. Nothing may be written meanwhile. */
export async function checkAnswers(url: string, path: string, sinceMs: number): Promise<string[]> {
  const database = new DatabaseSync(path, { readOnly: true });
  const count = (where: string) => Number(database.prepare(`SELECT count(*) AS rows FROM messages WHERE ${where}`).get()?.['rows']);
  const totalOf = async (query: string) => {
    const page: { total: number } = JSON.parse((await get(`${url}/messages?${query}`)).body);
    return page.total;
  };
  // Texts of one form order as their instants do.
  const { total_messages, senders_count, first_message_ts, last_message_ts } = database.prepare(`
    SELECT count(*) AS total_messages, count(DISTINCT from_number) AS senders_count,
      min(ts) AS first_message_ts, max(ts) AS last_message_ts FROM messages`).get() ?? {};
  const messages_per_sender = database.prepare(
    'SELECT from_number AS "from", count(*) AS count FROM messages GROUP BY from_number ORDER BY 2 DESC, 1 LIMIT 10').all();
  const stats = { total_messages, senders_count, messages_per_sender, first_message_ts, last_message_ts };
  const answers = {
    'GET /stats': (await get(`${url}/stats`)).body === JSON.stringify(stats),
    'total of since': await totalOf(sinceInstant(sinceMs)) === count(`ts >= '${new Date(sinceMs).toISOString()}'`),
    'total of q': await totalOf(`q=${COMMON_WORD}`) === count(`text LIKE '%${COMMON_WORD}%'`),
  };
  database.close();
  return Object.entries(answers).filter(([, same]) => !same).map(([name]) => name);
}
