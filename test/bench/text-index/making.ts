/** Making a text index from nothing, by the service itself, and what it is then. */
import { rmSync, statSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as delay } from 'node:timers/promises';
import { get, type Service, startService } from '../processes.ts';
import { inScope } from '../scope.ts';
import type { Variant } from './variants.ts';

const LOOK_EVERY_MS = 250;

export interface Made {
  /** Until the indexer thread rests. */
  readonly seconds: number;
  /** Processor time of the indexer thread. */
  readonly processorSeconds: number;
  /** Of merging all of it into one, which can wait until nothing comes; 0 where there is nothing to merge. */
  readonly mergeSeconds: number;
  /** Of the whole read index, without the pages that are free for what comes. */
  readonly bytes: number;
  /** The whole file. */
  readonly fileBytes: number;
  /** To each search asked; null where it took longer than a read may. */
  readonly answers: readonly (string | null)[];
}

/** Makes the read index of a database anew, then asks for these targets. */
export async function makeIndex(path: string, { nodeOptions }: Variant, targets: readonly string[]): Promise<Made> {
  rmSync(`${path}-index`, { force: true });
  const made = await inScope(async (scope) => {
    const begin = performance.now();
    const service = await startService(scope, path, nodeOptions);
    await indexed(service);
    const measured = { seconds: (performance.now() - begin) / 1000, processorSeconds: service.processorSeconds('indexer') };
    const answers: (string | null)[] = [];
    for (const target of targets) {
      const { status, body } = await get(service.url + target);
      answers.push(status === 503 ? null : body);
    }
    await service.end('SIGTERM');
    return { ...measured, answers };
  });
  return { ...made, ...merge(path) };
}

/** All messages are in the index, and the thread that makes it has come to rest. */
export async function indexed(service: Service): Promise<void> {
  for (let before = NaN, now = 0; now !== before || !(await isIndexed(service));) {
    await delay(LOOK_EVERY_MS);
    before = now;
    now = service.processorSeconds('indexer');
  }
}

const isIndexed = async ({ url }: Service) => (await get(`${url}/metrics`)).body.includes('\nstorage_index_lag_messages 0\n');

/** Merges FTS5's segments into one, as could be done at rest. */
function merge(path: string) {
  const database = new DatabaseSync(`${path}-index`);
  const isFts5 = database.prepare("SELECT 1 FROM sqlite_schema WHERE sql LIKE '% USING fts5(%'").get() !== undefined;
  const begin = performance.now();
  if (isFts5) database.exec("INSERT INTO texts(texts) VALUES ('optimize')");
  database.exec('PRAGMA wal_checkpoint(TRUNCATE)');
  const mergeSeconds = isFts5 ? (performance.now() - begin) / 1000 : 0;
  const used = database.prepare(`
    SELECT (page_count - freelist_count) * page_size AS bytes FROM pragma_page_count, pragma_freelist_count, pragma_page_size`).get();
  database.close();
  return { mergeSeconds, bytes: Number(used?.['bytes']), fileBytes: statSync(`${path}-index`).size };
}
