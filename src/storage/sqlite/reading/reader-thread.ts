/** A reader thread: a read-only connection that answers one read at a time. Entry point of a worker; see `reader.ts`. */
import { setPriority } from 'node:os';
import { DatabaseSync } from 'node:sqlite';
import { parentPort, workerData } from 'node:worker_threads';
import { StorageUnavailable } from '../../../errors.ts';
import type { ReadReply } from '../../reads.ts';
import { AS_BY_DEFAULT, BUSY_TIMEOUT_MS, readOnlyUri } from '../connection-options.ts';
import { isDamage, reasonOf } from '../failures.ts';
import { identityOf } from '../file/identity.ts';
import { indexPathOf } from '../indexing/schema.ts';
import { createSnapshotGate } from '../snapshot-gate.ts';
import type { ReaderData, ReaderMessage, ReaderRequest } from './protocol.ts';
import { createAnswer, usesIndex } from './queries.ts';

/** A nice value: a third of what others get. Much less would have a search wait for as long as senders keep the processors busy. */
const GIVING_WAY = 5;
/** Pages in memory, of the messages and of their index each. */
const CACHE_KIB = 4 * 1024;

const { path, gate, givesWay }: ReaderData = workerData;
// Elsewhere than on Linux it would be the priority of the whole process.
if (givesWay && process.platform === 'linux') setPriority(GIVING_WAY);
const database = new DatabaseSync(path, { ...AS_BY_DEFAULT, readOnly: true, timeout: BUSY_TIMEOUT_MS });
database.exec(`PRAGMA cache_size = -${CACHE_KIB}; PRAGMA temp_store = MEMORY`);
const answer = createAnswer(database, createSnapshotGate(gate));
const attachIndex = createAttachIndex();

function reply({ read, timeoutMs }: ReaderRequest): ReadReply {
  const deadline = performance.now() + timeoutMs;
  try {
    if (usesIndex(read)) attachIndex();
    return answer(read, deadline);
  } catch (error) {
    // Nothing tells which of the two files it is in.
    if (usesIndex(read) && isDamage(error)) return { kind: 'failed', reason: 'the database or its read index is damaged' };
    return { kind: 'failed', reason: reasonOf(error) };
  }
}

/** Returns what attaches the index as `read_index`, another one where it was made anew. Throws StorageUnavailable where there is none. */
function createAttachIndex(): () => void {
  const indexPath = indexPathOf(path);
  let attached: string | undefined;
  return () => {
    const found = identityOf(indexPath);
    if (found !== undefined && found === attached) return;
    if (attached !== undefined) database.exec('DETACH read_index');
    attached = undefined;
    if (found === undefined) throw new StorageUnavailable('the read index is being made');
    database.prepare('ATTACH ? AS read_index').run(readOnlyUri(indexPath));
    attached = found;
  };
}

const tell = (message: ReaderMessage) => parentPort?.postMessage(message);
parentPort?.on('message', (request: ReaderRequest) => tell(reply(request)));
tell({ kind: 'opened' });
