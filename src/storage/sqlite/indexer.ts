/**
 * The indexer thread: takes stored messages into the read index (`index-schema.ts`), behind the writer and without its lock.
 * Entry point of a worker; see `indexer-client.ts` for the other side.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { checkpoint } from './checkpoint.ts';
import { reasonOf } from './failures.ts';
import { createIndexWriter } from './index-messages.ts';
import { indexPathOf, openIndexForWriting } from './index-schema.ts';
import type { IndexerMessage, IndexerRequest, ThreadData } from './protocol.ts';

/** Messages after which the log of the index is copied into its file. */
const CHECKPOINT_EVERY_MESSAGES = 16_384;
/** How often progress is told of while a whole database is indexed, in milliseconds. */
const TELL_EVERY_MS = 1000;

const { path }: ThreadData = workerData;
const indexPath = indexPathOf(path);
const tell = (message: IndexerMessage) => parentPort?.postMessage(message);
const database = openIndexForWriting(path);
const index = createIndexWriter(database);
let sinceCheckpoint = 0;

/** Takes in, chunk by chunk, what has come since, and tells how many messages are in the index then. */
function catchUp(kind: 'opened' | 'indexed', onProgress: () => void = () => {}): void {
  try {
    for (let taken = index.takeIn(); taken > 0; taken = index.takeIn()) {
      while (index.sealSegment());
      checkpointIfDue(taken);
      onProgress();
    }
    tell({ kind, messages: index.messages() });
  } catch (error) {
    tell({ kind: 'failed', reason: reasonOf(error) });
  }
}

function checkpointIfDue(taken: number): void {
  sinceCheckpoint += taken;
  if (sinceCheckpoint < CHECKPOINT_EVERY_MESSAGES) return;
  sinceCheckpoint = 0;
  checkpoint(database, indexPath);
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
