/** Messages are stored, erased and expire in a server process that is killed again and again, and are looked at after each start. */
import { createInbox, startLoad, type Inbox, type Sent } from './inbox.ts';
import type { ServerProcessOptions } from './server-process.ts';
import { type StoredRows, rowsOfFile } from './stored-rows.ts';
import type { Scope } from './temporary.ts';
import { waitFor } from './wait.ts';

const DAY_MS = 86_400_000;
const SENDERS = ['+491', '+492', '+493'];
/** Messages of one sender that are erased in a round: some steps of removal, of either storage. */
const ERASED = 1200;
const REPEATS = 40;
/** Two rounds later a message has expired. */
const ROUND_MS = 0.6 * DAY_MS;

/** All but the first three have to be 0. */
export interface LifeFigures {
  acknowledged: number;
  erased: number;
  expired: number;
  /** Acknowledged, neither erased nor expired, and not there. */
  lost: number;
  /** Erased, acknowledged as such, or expired, and in an answer or stored again. */
  back: number;
  /** Repeats of what is gone that were not answered 200. */
  refused: number;
  /** Counts of answers that are not those of the rows. */
  miscounted: number;
  /** What is wrong beside the rows at the end. */
  problems: number;
}

export interface LifeOptions {
  readonly script: NonNullable<ServerProcessOptions['script']>;
  /** Where the messages are, if not in a file. */
  readonly elsewhere?: StoredRows;
  readonly rounds: number;
  /** Acknowledgements from the beginning of an erasure to the kill: a random number up to this. */
  readonly mostBeforeKill: number;
  readonly progress: (text: string) => void;
}

/** Runs the rounds on one database, and tells what was found. */
export async function runLifeRounds(scope: Scope, { script, elsewhere, rounds, mostBeforeKill, progress }: LifeOptions): Promise<LifeFigures> {
  const inbox = createInbox(scope, script, {
    RETENTION_DAYS: '1', DEDUP_DAYS: '30', ...(elsewhere !== undefined && { DATABASE_URL: elsewhere.databaseUrl }),
  });
  const rows = elsewhere ?? rowsOfFile(inbox.path);
  const found: LifeFigures = { acknowledged: 0, erased: 0, expired: 0, lost: 0, back: 0, refused: 0, miscounted: 0, problems: 0 };
  const acknowledged: Sent[] = [];
  const erasedBefore: Sent[] = [];
  let given = 0;
  for (let round = 1; round <= rounds; round += 1) {
    const server = await inbox.start();
    const next = (from: string): Sent => ({ from, message_id: `life-${given += 1}`, sentAt: inbox.clock.now() });
    const victims = Array.from({ length: ERASED }, () => next(`+7${1000 + round}`));
    await Promise.all(victims.map(async (one) => void (await waitFor('its acknowledgement', () => inbox.send(one)))));

    const load = startLoad(inbox, () => next(SENDERS[given % SENDERS.length] ?? ''), acknowledged);
    const killAt = acknowledged.length + 1 + Math.floor(Math.random() * mostBeforeKill);
    let isErased = false;
    const erasing = inbox.erase(victims[0]?.from ?? '').then((is) => { isErased = is; });
    inbox.clock.advance(ROUND_MS);
    await waitFor('acknowledgements', () => acknowledged.length >= killAt);
    server.child.kill('SIGKILL');
    await Promise.all([load.stop(), erasing, server.ended]);

    const again = await inbox.start();
    erasedBefore.push(...victims);
    await lookAtErased(inbox, found, victims, isErased);
    await lookAtAll(inbox, rows, found, acknowledged, erasedBefore);
    again.child.kill(round < rounds ? 'SIGKILL' : 'SIGTERM');
    await again.ended;
    progress(`round ${round} of ${rounds}, ${acknowledged.length} acknowledged, the erasure ${isErased ? 'too' : 'cut off'}`);
  }
  found.problems = await rows.countProblems();
  return { ...found, acknowledged: acknowledged.length, erased: erasedBefore.length };
}

/** `isErased`: it was said so before the kill. Otherwise the same request again goes on. */
async function lookAtErased(inbox: Inbox, found: LifeFigures, victims: readonly Sent[], isErased: boolean): Promise<void> {
  const from = victims[0]?.from ?? '';
  const shown = () => inbox.totalOf(`/messages?from=${encodeURIComponent(from)}`);
  if (isErased) found.back += await shown();
  await waitFor('the erasure', () => inbox.erase(from));
  found.back += await shown();
  await requireRepeats(inbox, found, victims);
  found.back += await shown();
}

async function requireRepeats(inbox: Inbox, found: LifeFigures, gone: readonly Sent[]): Promise<void> {
  for (const one of gone.slice(-REPEATS)) if (!await inbox.send(one, 'again, and other')) found.refused += 1;
}

async function lookAtAll(
  inbox: Inbox, rows: StoredRows, found: LifeFigures, acknowledged: readonly Sent[], erased: readonly Sent[],
): Promise<void> {
  const since = inbox.clock.now() - DAY_MS;
  await waitFor('retention', async () => await rows.countReceivedBefore(since) === 0);
  const expired = acknowledged.filter(({ sentAt }) => sentAt + ROUND_MS < since);
  found.expired = expired.length;
  await requireRepeats(inbox, found, expired);
  const present = await rows.ids();
  for (const { message_id } of [...erased, ...expired]) if (present.has(message_id)) found.back += 1;
  for (const { message_id, sentAt } of acknowledged) if (sentAt >= since && !present.has(message_id)) found.lost += 1;

  if (await inbox.totalOf('/stats', 'total_messages') !== present.size) found.miscounted += 1;
  if (await inbox.totalOf('/messages') !== present.size) found.miscounted += 1;
  for (const from of SENDERS) {
    if (await inbox.totalOf(`/messages?from=${encodeURIComponent(from)}`) !== await rows.countFrom(from)) found.miscounted += 1;
  }
}
