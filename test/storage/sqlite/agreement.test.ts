/** Reads from indexes and kept counts have to say the same as a plain look at every message. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, describe, test } from 'node:test';
import { createRandom } from '../../support/random.ts';
import { REFERENCE_SCHEMA } from '../../support/reference-schema.ts';
import { openTestStorage } from '../../support/storage.ts';
import { temporaryFolder } from '../../support/temporary.ts';
import { waitFor } from '../../support/wait.ts';
import { APPENDED, createCorpus } from '../agreement.ts';

/** More than two segments of trigrams, with parts beside them, and two partitions of the order by sender. */
const MESSAGES = 80_000;
const corpus = createCorpus(createRandom(Number(process.env['FUZZ_SEED'] ?? 20_250_115)), MESSAGES);
const path = join(temporaryFolder({ after }), 'app.db');
makeReferenceFile();
let storage = await openTestStorage({ after }, path);

function makeReferenceFile(): void {
  const database = new DatabaseSync(path);
  database.exec(`${REFERENCE_SCHEMA}; BEGIN`);
  const insert = database.prepare('INSERT INTO messages(message_id, from_number, to_number, ts, text) VALUES (?, ?, ?, ?, ?)');
  for (const { message_id, from, to, ts, text } of corpus.messages) insert.run(message_id, from, to, ts, text);
  database.exec('COMMIT');
  database.close();
}

const checkAll = () => corpus.check(storage);
const append = async () => void await Promise.all(corpus.add(corpus.draw()).map((message) => storage.append(message)));
const indexed = () => waitFor('the index', () => storage.degraded().length === 0 && storage.indexLag() === 0);

describe('reads say the same as a plain look at every message', () => {
  test('of a file that was indexed as a whole', async () => {
    await indexed();
    const index = new DatabaseSync(`${path}-index`, { readOnly: true });
    for (const table of ['partitions', 'segments', 'parts']) {
      // The texts are taken in behind the messages.
      await waitFor(`two ${table}`, () => Number(index.prepare(`SELECT count(*) AS rows FROM ${table}`).get()?.['rows']) >= 2);
    }
    index.close();
    await checkAll();
  });

  test('while some are not in the index yet', async (t) => {
    const holder = new DatabaseSync(`${path}-index`, { timeout: 5000 });
    t.after(() => holder.close());
    holder.exec('BEGIN IMMEDIATE');
    for (let round = 1; round <= 2; round += 1) {
      await append();
      await checkAll();
      assert.equal(storage.indexLag(), round * APPENDED);
    }
  });

  test('once they are', async () => {
    await indexed();
    await checkAll();
  });

  test('after a restart', async () => {
    await append();
    await storage.close();
    storage = await openTestStorage({ after }, path);
    await checkAll();
    await indexed();
    await checkAll();
  });
});
