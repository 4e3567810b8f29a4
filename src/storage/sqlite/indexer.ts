/**
 * The indexer thread: takes stored messages into the read index (`index-schema.ts`), behind the writer and without its lock.
 * Entry point of a worker; see `indexer-client.ts` for the other side.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { checkpoint } from './checkpoint.ts';
import { reasonOf } from './failures.ts';
import { CHUNK_MESSAGES, createIndexWriter } from './index-messages.ts';
import { indexPathOf, openIndexForWriting } from './index-schema.ts';
import type { IndexerMessage, IndexerRequest, ThreadData } from './protocol.ts';

/** Pages in the log of the index after which it is copied into its file: many, as each time the disk is busy with both files for long. */
const CHECKPOINT_EVERY_PAGES = 16_384;
/** How often progress is told of while a whole database is indexed, in milliseconds. */
const TELL_EVERY_MS = 1000;

const { path }: ThreadData = workerData;
const indexPath = indexPathOf(path);
const tell = (message: IndexerMessage) => parentPort?.postMessage(message);
const database = openIndexForWriting(path);
const index = createIndexWriter(database);
const measureLog = database.prepare('PRAGMA main.wal_checkpoint(NOOP)');

/** Takes in, chunk by chunk, what has come since, and tells how many messages are in the index then. */
function catchUp(kind: 'opened' | 'indexed', onProgress: () => void = () => {}): void {
  try {
    for (let taken = CHUNK_MESSAGES; taken === CHUNK_MESSAGES;) {
      taken = index.takeIn();
      while (index.indexNextPart()) onProgress();
      checkpointIfDue();
      onProgress();
    }
    tell({ kind, messages: index.messages() });
  } catch (error) {
    tell({ kind: 'failed', reason: reasonOf(error) });
  }
}

function checkpointIfDue(): void {
  const { log, checkpointed } = measureLog.get() ?? {};
  if (Number(log) - Number(checkpointed) >= CHECKPOINT_EVERY_PAGES) checkpoint(database, indexPath);
}

function createTellProgress(): () => void {
  let toldAt = performance.now();
  let rows: number | undefined;
  return () => {
    if (performance.now() - toldAt < TELL_EVERY_MS) return;
    toldAt = performance.now();
    rows ??= Number(database.prepare('SELECT count(*) AS rows FROM inbox_file.messages').get()?.['rows']);
    tell({ kind: 'notice', event: 'indexing', fields: { rows_done: index.messages(), rows } });
  };
}

parentPort?.on('message', (_request: IndexerRequest) => catchUp('indexed'));
catchUp('opened', createTellProgress());
