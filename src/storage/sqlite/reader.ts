/** A reader thread: a read-only connection that answers one read at a time. Entry point of a worker; see `reader-pool.ts`. */
import { setPriority } from 'node:os';
import { DatabaseSync } from 'node:sqlite';
import { parentPort, workerData } from 'node:worker_threads';
import { reasonOf } from './failures.ts';
import { indexPathOf, readOnlyUri } from './index-schema.ts';
import type { ReaderData, ReaderMessage, ReaderReply, ReaderRequest } from './protocol.ts';
import { createReads } from './queries.ts';
import { BUSY_TIMEOUT_MS } from './schema.ts';

/** A nice value: a third of what others get. Much less would have a search wait for as long as senders keep the processors busy. */
const GIVING_WAY = 5;
/** Pages in memory, of the messages and of their index each. */
const CACHE_KIB = 4 * 1024;

const { path, givesWay }: ReaderData = workerData;
// Elsewhere than on Linux it would be the priority of the whole process.
if (givesWay && process.platform === 'linux') setPriority(GIVING_WAY);
const database = new DatabaseSync(path, { readOnly: true, timeout: BUSY_TIMEOUT_MS });
database.exec(`PRAGMA cache_size = -${CACHE_KIB}; PRAGMA temp_store = MEMORY`);
database.prepare('ATTACH ? AS read_index').run(readOnlyUri(indexPathOf(path)));
const reads = createReads(database, path);

function answer({ read, timeoutMs }: ReaderRequest): ReaderReply {
  const deadline = performance.now() + timeoutMs;
  const { kind } = read;
  try {
    switch (kind) {
      case 'list': return { kind, result: reads.list(read.query, deadline) };
      case 'stats': return { kind, result: reads.stats(deadline) };
      case 'stored': return { kind, result: reads.stored(read.query, deadline) };
      case 'newestSequence': return { kind, result: reads.newestSequence(deadline) };
      case 'arrivals': return { kind, result: reads.arrivals(read.sinceMinute, deadline) };
      default: return kind satisfies never;
    }
  } catch (error) {
    const reason = reasonOf(error);
    // Nothing tells which of the two files it is in.
    return { kind: 'failed', reason: reason === 'the database is damaged' ? 'the database or its read index is damaged' : reason };
  }
}

const tell = (message: ReaderMessage) => parentPort?.postMessage(message);
parentPort?.on('message', (request: ReaderRequest) => tell(answer(request)));
tell({ kind: 'opened' });
