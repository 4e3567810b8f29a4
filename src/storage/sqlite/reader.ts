/** A reader thread: a read-only connection that answers one read at a time. Entry point of a worker; see `reader-pool.ts`. */
import { DatabaseSync } from 'node:sqlite';
import { parentPort, workerData } from 'node:worker_threads';
import { reasonOf } from './failures.ts';
import { BUSY_TIMEOUT_MS } from './open.ts';
import type { ReaderMessage, ReaderReply, ReaderRequest, ThreadData } from './protocol.ts';
import { createReads } from './queries.ts';

const { path }: ThreadData = workerData;
const database = new DatabaseSync(path, { readOnly: true, timeout: BUSY_TIMEOUT_MS });
const reads = createReads(database);

function answer(request: ReaderRequest): ReaderReply {
  try {
    switch (request.kind) {
      case 'list': return { kind: 'page', page: reads.list(request.query, performance.now() + request.timeoutMs) };
      case 'stats': return { kind: 'stats', stats: reads.stats() };
    }
  } catch (error) {
    return { kind: 'failed', reason: reasonOf(error) };
  }
}

const tell = (message: ReaderMessage) => parentPort?.postMessage(message);
parentPort?.on('message', (request: ReaderRequest) => tell(answer(request)));
tell({ kind: 'opened' });
