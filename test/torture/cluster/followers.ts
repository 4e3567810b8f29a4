import { setTimeout as delay } from 'node:timers/promises';
import { readEvents, type EventReader } from '../../support/event-stream.ts';
import type { Scope } from '../../support/temporary.ts';
import type { Receiver } from './receivers.ts';

const LOOK_EVERY_MS = 50;
const AGAIN_AFTER_MS = 100;
const GONE = 410;

/** A reader of a receiver's stream that comes again with its last position whenever it ends, as browsers do. */
export interface Follower {
  /** Of the receiver. */
  readonly name: string;
  /** The `message_id` of each event so far, over all connections. */
  ids(): readonly string[];
  /** Events so far. */
  count(): number;
  connections(): number;
  /** Times that its position was refused as one of another database. */
  refusals(): number;
}

/** Reads from the beginning on, until the scope ends. */
export function follow(scope: Scope, { name, url }: Receiver): Follower {
  const ids: string[] = [];
  let current: EventReader | undefined;
  let [position, connections, refusals, isOver] = ['', 0, 0, false];
  let disconnect = () => {};

  async function readUntilItEnds(): Promise<void> {
    const connection: Scope = { after: (end) => { disconnect = () => void end(); } };
    const headers: Record<string, string> = position === '' ? {} : { 'Last-Event-ID': position };
    const reader = await readEvents(connection, `${url}/messages/stream?after=start`, headers);
    if (reader.status === GONE) refusals += 1;
    if (reader.status !== 200) return;
    connections += 1;
    current = reader;
    while (!reader.isEnded() && !isOver) await delay(LOOK_EVERY_MS);
    ids.push(...reader.ids());
    current = undefined;
    position = reader.lastEventId() || position;
  }

  async function run(): Promise<void> {
    while (!isOver) {
      // Where it could not connect it comes again as well.
      await readUntilItEnds().catch(() => {});
      disconnect();
      await delay(AGAIN_AFTER_MS);
    }
  }

  const ended = run();
  scope.after(async () => {
    isOver = true;
    disconnect();
    await ended;
  });
  return {
    name,
    ids: () => [...ids, ...current?.ids() ?? []],
    count: () => ids.length + (current?.events.length ?? 0),
    connections: () => connections, refusals: () => refusals,
  };
}
