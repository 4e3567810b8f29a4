/** Values of other types than TEXT, which another program has stored: listed as what they say, and the same in whichever way they are read. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, test, type TestContext } from 'node:test';
import { instantOf } from '../../../../src/message.ts';
import { message } from '../../../support/messages.ts';
import { REFERENCE_SCHEMA } from '../../../support/reference-schema.ts';
import { openTestStorage } from '../../../support/storage.ts';
import { temporaryFolder } from '../../../support/temporary.ts';
import { waitFor } from '../../../support/wait.ts';

const WITHOUT_TYPES = 'CREATE TABLE messages(id INTEGER PRIMARY KEY AUTOINCREMENT, message_id UNIQUE, from_number, to_number, ts, text)';
const WITH_NULLS = REFERENCE_SCHEMA.replaceAll(' NOT NULL', '');
const blob = (text: string) => `x'${Buffer.from(text).toString('hex')}'`;
const [SENDER, TS] = [blob('+12'), blob('2025-01-15T10:00:00Z')];
const whole = { message_id: 'old', from: '+12', to: '+13', ts: '2025-01-15T10:00:00Z', text: 'hello old' };

/** The table, a row's values, and the message that they are. */
const ROWS: Record<string, [string, string, typeof whole | (Omit<typeof whole, 'text'> & { text: null })]> = {
  'BLOBs in columns of TEXT': [REFERENCE_SCHEMA, `${blob('old')}, ${SENDER}, ${blob('+13')}, ${TS}, ${blob('hello old')}`, whole],
  'BLOBs in columns of no type': [WITHOUT_TYPES, `${blob('old')}, ${SENDER}, '+13', ${TS}, ${blob('hello old')}`, whole],
  'whole numbers': [WITHOUT_TYPES, `42, 12, 13, 20250115, 7`, { message_id: '42', from: '12', to: '13', ts: '20250115', text: '7' }],
  'a whole number in a column of INTEGER': [
    REFERENCE_SCHEMA.replace('message_id TEXT', 'message_id INTEGER').replace('text TEXT', 'text REAL'), `42, '+12', '+13', ${TS}, 7`,
    { ...whole, message_id: '42', text: '7.0' },
  ],
  'numbers that are not': [WITHOUT_TYPES, `1.5, 12.25, 13, -0.5, 1e3`, { message_id: '1.5', from: '12.25', to: '13', ts: '-0.5', text: '1000.0' }],
  'a BLOB with a NUL': [REFERENCE_SCHEMA, `'old', '+12', '+13', ${TS}, ${blob('hello\0old')}`, { ...whole, text: 'hello\0old' }],
  'a BLOB of other letters': [REFERENCE_SCHEMA, `'old', '+12', '+13', ${TS}, ${blob('é😀')}`, { ...whole, text: 'é😀' }],
  'an empty BLOB': [REFERENCE_SCHEMA, `x'', '+12', '+13', ${TS}, x''`, { ...whole, message_id: '', text: '' }],
  'a BLOB that is no UTF-8': [REFERENCE_SCHEMA, `'old', '+12', '+13', ${TS}, x'61ff62'`, { ...whole, text: "X'61FF62'" }],
  'BLOBs that are no UTF-8': [REFERENCE_SCHEMA, `x'ff', x'fe', x'c0', ${TS}, NULL`, { ...whole, message_id: "X'FF'", from: "X'FE'", to: "X'C0'", text: null }],
  'NULL in all but its id': [WITH_NULLS, `'old', NULL, NULL, NULL, NULL`, { message_id: 'old', from: '', to: '', ts: '', text: null }],
  'NULL for its id': [WITH_NULLS, `NULL, '+12', '+13', ${TS}, 'hello old'`, { ...whole, message_id: '' }],
};

function insert(path: string, ...statements: string[]): void {
  const database = new DatabaseSync(path);
  for (const statement of statements) database.exec(statement);
  database.close();
}

async function assertReads(t: TestContext, path: string, expected: (typeof ROWS)[string][2]): Promise<void> {
  const storage = await openTestStorage(t, path);
  const all = { limit: 100, offset: 0 };
  await waitFor('the index', () => storage.degraded().length === 0 && storage.indexLag() === 0);
  const found = async (filter: object) => (await storage.list({ ...all, ...filter })).items.filter(({ message_id }) => message_id === expected.message_id);
  assert.deepEqual(await found({}), [expected]);
  assert.deepEqual(await found({ newestFirst: true }), [expected]);
  assert.deepEqual(await found({ since: instantOf(expected.ts) ?? expected.ts }), [expected]);
  assert.deepEqual(await found({ from: expected.from }), [expected]);
  if (expected.text !== null) assert.deepEqual(await found({ q: expected.text }), [expected]);
  const { topSenders } = await storage.stats();
  assert.ok(topSenders.some(({ from }) => from === expected.from), JSON.stringify(topSenders));
  const { items } = await storage.stored({ after: storage.beforeAll, limit: 100, from: expected.from });
  assert.ok(items.some(({ message: stored }) => stored.message_id === expected.message_id));
  assert.equal(await storage.append(message(expected)), 'duplicate');
  assert.equal(await storage.append(message({ ...expected, to: 'other' })), 'conflicting_duplicate');
  await storage.close();
}

describe('a row with', { concurrency: 4 }, () => {
  for (const [what, [table, values, expected]] of Object.entries(ROWS)) {
    const row = `INSERT INTO messages(message_id, from_number, to_number, ts, text) VALUES (${values})`;
    test(`${what}, in a file that is taken over`, async (t) => {
      const path = join(temporaryFolder(t), 'app.db');
      insert(path, table, "INSERT INTO messages(message_id, from_number, to_number, ts) VALUES ('other', '+12', '+13', '2025-01-15T10:00:00Z')", row);
      await assertReads(t, path, expected);
      await assertReads(t, path, expected);
    });

    if (table !== REFERENCE_SCHEMA) continue;
    test(`${what}, stored while the service was stopped`, async (t) => {
      const path = join(temporaryFolder(t), 'app.db');
      const storage = await openTestStorage(t, path);
      await storage.append(message({ message_id: 'other' }));
      await storage.close();
      insert(path, row);
      await assertReads(t, path, expected);
      insert(path, `UPDATE messages SET text = CAST(text AS BLOB), from_number = CAST('+99' AS BLOB) WHERE message_id <> 'other'`);
      await assertReads(t, path, { ...expected, from: '+99' });
    });
  }
});
