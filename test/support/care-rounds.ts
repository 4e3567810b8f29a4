/**
 * A file is backed up while it is served, and restored, again and again, and each time one of the processes is killed: the server, the
 * program, or the process of the program's own that copies. What there is then is looked at, and served.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { verify } from '../../src/storage/sqlite/care/verify.ts';
import { createAppend } from '../../src/storage/sqlite/file/append.ts';
import { openForWriting } from '../../src/storage/sqlite/file/open.ts';
import { createRemembered } from '../../src/storage/sqlite/file/remembered.ts';
import { type RunningCommand, startCommand } from './command.ts';
import { createInbox, startLoad, type Inbox, type Sent } from './inbox.ts';
import { message } from './messages.ts';
import { idsIn, visibleIdsIn } from './stored-rows.ts';
import type { Scope } from './temporary.ts';
import { waitFor } from './wait.ts';

const HOUR_MS = 3_600_000;
const KEEP_DAYS = 7;
const SENDER = '+491';
/** Of the messages that the first backup has, and that are erased soon after. */
const ERASED_SENDER = '+492';
/** Messages of each of two senders of a round: those of the one are erased before the backup, those of the other beside it. */
const ERASED = 200;
const REPEATS = 20;
/** So that a copy takes a while. */
const STORED_TEXT = 'x'.repeat(500);
const KILLED = ['the program', 'the copier', 'the server'] as const;
type Killed = (typeof KILLED)[number];

/** Those from `lost` on have to be 0. */
export interface CareFigures {
  acknowledged: number;
  readonly erased: number;
  /** Backups that had their name when one of the processes was killed. */
  backups: number;
  /** Restores that were killed before the database was the new one, and after. */
  old: number;
  replaced: number;
  /** Longest time from a kill until both processes, that of the program and the one that copies, were gone. */
  outlivedMs: number;
  /** Acknowledged, not erased, and not in the database; in a backup, though that was before it; or not in what a restore has kept. */
  lost: number;
  /** Erased, and in the database, in an answer, stored again, or in a backup that was begun after it. */
  back: number;
  /** Databases that were neither the old one nor the new one after a restore that was killed. */
  torn: number;
  /** Backups that failed though only the server was killed. */
  failed: number;
  /** Totals of answers that are not those of the rows. */
  miscounted: number;
  /** What a verification says of a database or a backup that has its name. */
  problems: number;
  /** Files that are left at the end and should not be. */
  left: number;
}

export interface CareOptions {
  readonly code: 'dist' | 'src';
  readonly rounds: number;
  /** In the database before. */
  readonly stored: number;
  readonly progress: (text: string) => void;
}

interface Rounds {
  readonly scope: Scope;
  readonly code: CareOptions['code'];
  readonly inbox: Inbox;
  readonly folder: string;
  readonly found: CareFigures;
  /** Acknowledged, and neither erased nor given up by a restore. */
  readonly kept: Set<string>;
  readonly erased: Set<string>;
  /** All that were to be erased, of whom a kill may have cut off the last. */
  readonly victims: Set<string>;
}

/** What was sent in a round. */
interface Round {
  readonly acknowledged: readonly Sent[];
  readonly erasedBefore: readonly Sent[];
  readonly erasedBeside: readonly Sent[];
}

/** Runs the rounds on one database, and tells what was found. */
export async function runCareRounds(scope: Scope, { code, rounds, stored, progress }: CareOptions): Promise<CareFigures> {
  const inbox = createInbox(scope, code === 'dist' ? 'dist/server.js' : 'src/server.ts');
  const folder = join(dirname(inbox.path), 'backups');
  mkdirSync(folder);
  const found = {
    acknowledged: 0, erased: 0, backups: 0, old: 0, replaced: 0, outlivedMs: 0, lost: 0, back: 0, torn: 0, failed: 0, miscounted: 0,
    problems: 0, left: 0,
  };
  const [kept, victims] = [storeAtOnce(inbox.path, SENDER, stored), storeAtOnce(inbox.path, ERASED_SENDER, ERASED)];
  const all: Rounds = { scope, code, inbox, folder, found, kept: new Set(kept), erased: new Set(victims), victims: new Set(victims) };
  const whole = { backup: await timeOf(backUp(all)), restore: 0 };
  whole.restore = await timeOf(startRestore(all, newestBackup(folder)));
  removeKept(inbox.path);
  const server = await inbox.start();
  await waitFor('the erasure', () => inbox.erase(ERASED_SENDER));
  server.child.kill('SIGKILL');
  await server.ended;
  for (let round = 1; round <= rounds; round += 1) {
    inbox.clock.advance(HOUR_MS);
    const killed = KILLED[round % KILLED.length] ?? 'the program';
    const sent = await killBackup(all, round, killed, whole.backup);
    const isNew = await killRestore(all, round % 2 === 0 ? 'the program' : 'the copier', whole.restore);
    await serve(all, sent);
    found.acknowledged += sent.acknowledged.length;
    progress(`round ${round} of ${rounds}, ${killed} killed beside a backup and ${sent.acknowledged.length} acknowledgements, ` +
      `then a restore that left the ${isNew ? 'new' : 'old'} database`);
  }
  await lookAtLeft(all);
  return { ...found, erased: all.erased.size };
}

/** Returns the ids. */
function storeAtOnce(path: string, from: string, count: number): string[] {
  const { database } = openForWriting(path, () => {}, () => false);
  const messages = Array.from({ length: count }, (_, index) => message({ message_id: `stored-${from}-${index}`, from, text: STORED_TEXT }));
  const append = createAppend(database, createRemembered(database));
  database.exec('BEGIN');
  append({ received_at: Date.UTC(2026, 0, 1), messages });
  database.exec('COMMIT');
  database.close();
  return messages.map(({ message_id }) => message_id);
}

function start({ scope, code, inbox }: Rounds, name: 'backup' | 'restore', args: readonly string[]): RunningCommand {
  return startCommand(scope, name, inbox.path, args, { NODE_OPTIONS: inbox.clock.nodeArguments.join(' ') }, code);
}
const backUp = (all: Rounds) => start(all, 'backup', [`${all.folder}/`, '--keep-days', String(KEEP_DAYS)]);
const startRestore = (all: Rounds, source: string) => start(all, 'restore', [source]);

async function timeOf(command: RunningCommand): Promise<number> {
  const began = performance.now();
  const { status, last } = await command.ended;
  if (status !== 0) throw new Error(JSON.stringify(last));
  return performance.now() - began;
}

/** Their names have the time in them. */
const backupsIn = (folder: string) => readdirSync(folder).filter((name) => name.endsWith('.db')).toSorted();
const newestBackup = (folder: string) => join(folder, backupsIn(folder).at(-1) ?? '');

/** The processes that a process has started (proc(5)). */
function childrenOf(pid: number | undefined): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter((found) => found !== '').map(Number);
  } catch {
    return [];
  }
}

/** A process that has ended and that nobody waits for still has its number. */
function isRunning(pid: number): boolean {
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

/**
 * Kills a program, or while there is one the process that copies for it, some time within that in which it would end, and waits until both
 * are gone. `moment`: as a share of that time. Whether it was killed before it had ended.
 */
async function killAt({ found }: Rounds, running: RunningCommand, killed: 'the program' | 'the copier', wholeMs: number, moment: number): Promise<boolean> {
  const { child, lines, ended } = running;
  const hasEnded = () => child.exitCode !== null || child.signalCode !== null;
  await Promise.race([delay(moment * wholeMs), ended]);
  if (killed === 'the copier') await waitFor('a copy', () => hasEnded() || lines.some(({ step }) => step === 'copying'));
  const [copier] = childrenOf(child.pid);
  if (killed === 'the copier' && copier !== undefined) process.kill(copier, 'SIGKILL');
  else child.kill('SIGKILL');
  const killedAt = performance.now();
  // The process that copies has its stderr too.
  const { status } = await ended;
  if (copier !== undefined) await waitFor('the end of the process that copies', () => !isRunning(copier));
  found.outlivedMs = Math.max(found.outlivedMs, performance.now() - killedAt);
  return status !== 0;
}

async function killBackup(all: Rounds, round: number, killed: Killed, wholeMs: number): Promise<Round> {
  const { inbox, kept, erased, victims, found, folder } = all;
  const server = await inbox.start();
  let given = 0;
  const next = (from: string): Sent => ({ from, message_id: `round-${round}-${given += 1}`, sentAt: inbox.clock.now() });
  const store = (from: string) => Promise.all(Array.from({ length: ERASED }, async () => {
    const one = next(from);
    await waitFor('its acknowledgement', () => inbox.send(one));
    victims.add(one.message_id);
    return one;
  }));
  const [erasedBefore, erasedBeside] = [await store(`+7${1000 + round}`), await store(`+8${1000 + round}`)];
  await erase(all, erasedBefore);
  const [of, without] = [new Set(kept), new Set(erased)];
  const before = backupsIn(folder).length;

  const acknowledged: Sent[] = [];
  const load = startLoad(inbox, () => next(SENDER), acknowledged);
  const command = backUp(all);
  const erasing = inbox.erase(senderOf(erasedBeside));
  if (killed === 'the server') {
    await Promise.race([delay(Math.random() * wholeMs), command.ended]);
    server.child.kill('SIGKILL');
    if ((await command.ended).status !== 0) found.failed += 1;
  } else {
    await killAt(all, command, killed, wholeMs, Math.random());
  }
  server.child.kill('SIGKILL');
  const [isErased] = await Promise.all([erasing, load.stop(), server.ended]);
  if (isErased) for (const { message_id } of erasedBeside) erased.add(message_id);
  for (const { message_id } of acknowledged) kept.add(message_id);
  if (backupsIn(folder).length > before) await lookAtBackup(all, newestBackup(folder), of, without);
  return { acknowledged, erasedBefore, erasedBeside };
}

const senderOf = (messages: readonly Sent[]) => messages[0]?.from ?? '';

async function erase({ inbox, erased }: Rounds, messages: readonly Sent[]): Promise<void> {
  await waitFor('the erasure', () => inbox.erase(senderOf(messages)));
  for (const { message_id } of messages) erased.add(message_id);
}

/** How many of the one set are in the other. */
const countIn = (some: ReadonlySet<string>, others: ReadonlySet<string>) => some.intersection(others).size;
const countMissing = (some: ReadonlySet<string>, others: ReadonlySet<string>) => some.difference(others).size;
const isSame = (one: ReadonlySet<string>, other: ReadonlySet<string>) => one.size === other.size && one.isSubsetOf(other);

/** `of`: what was acknowledged before it was begun; `without`: what was erased then. */
async function lookAtBackup({ found }: Rounds, file: string, of: ReadonlySet<string>, without: ReadonlySet<string>): Promise<void> {
  const ids = idsIn(file, 'true');
  found.backups += 1;
  found.lost += countMissing(of, ids);
  found.back += countIn(without, ids);
  found.problems += await problemsOf(file);
}

async function problemsOf(file: string): Promise<number> {
  return (await verify(file, { tell() {}, say() {} })).problems;
}

/** Whether the restore came to its end. */
async function killRestore(all: Rounds, killed: 'the program' | 'the copier', wholeMs: number): Promise<boolean> {
  const { inbox: { path }, folder, kept, victims, found } = all;
  const source = newestBackup(folder);
  const old = visibleIdsIn(path);
  found.lost += countMissing(kept, old);
  const restored = new Set(idsIn(source, 'true').values().filter((id) => !victims.has(id) || old.has(id)));
  // Its last steps, of which there are many, take little of the time.
  const isKilled = await killAt(all, startRestore(all, source), killed, wholeMs, 1 - Math.random() ** 2);
  const now = visibleIdsIn(path);
  for (const copy of keptCopies(path)) found.lost += countMissing(old, visibleIdsIn(copy));
  removeKept(path);
  const isNew = isSame(now, restored);
  if (isNew) {
    if (isKilled) found.replaced += 1;
    kept.clear();
    for (const id of restored.difference(victims)) kept.add(id);
  } else if (isSame(now, old)) {
    found.old += 1;
  } else {
    found.torn += 1;
  }
  return isNew;
}

const besides = (path: string, form: RegExp) =>
  readdirSync(dirname(path)).filter((name) => form.test(name)).map((name) => join(dirname(path), name));
const keptCopies = (path: string) => besides(path, /-replaced-\w+$/);

function removeKept(path: string): void {
  for (const file of besides(path, /-replaced-/)) rmSync(file);
}

/** What a service makes of the database, however it was left. */
async function serve(all: Rounds, { erasedBefore, erasedBeside }: Round): Promise<void> {
  const { inbox, kept, erased, found } = all;
  const server = await inbox.start();
  await erase(all, erasedBeside);
  for (const messages of [erasedBefore, erasedBeside]) {
    for (const one of messages.slice(-REPEATS)) await waitFor('its acknowledgement', () => inbox.send(one, 'again, and other'));
    found.back += await inbox.totalOf(`/messages?from=${encodeURIComponent(senderOf(messages))}`);
  }
  const present = visibleIdsIn(inbox.path);
  found.lost += countMissing(kept, present);
  found.back += countIn(erased, present);
  if (await inbox.totalOf('/stats', 'total_messages') !== present.size) found.miscounted += 1;
  if (await inbox.totalOf('/messages') !== present.size) found.miscounted += 1;
  found.problems += await problemsOf(inbox.path);
  server.child.kill('SIGKILL');
  await server.ended;
}

/** After the next restore, be it of the first backup, no part of one is left, and a week later none of a backup. */
async function lookAtLeft(all: Rounds): Promise<void> {
  const { inbox, folder, erased, found } = all;
  await timeOf(startRestore(all, join(folder, backupsIn(folder)[0] ?? '')));
  found.back += countIn(erased, idsIn(inbox.path, 'true'));
  removeKept(inbox.path);
  inbox.clock.advance((KEEP_DAYS * 24 + 1) * HOUR_MS);
  await timeOf(backUp(all));
  const newest = basename(newestBackup(folder));
  found.left = readdirSync(folder).filter((name) => name !== newest).length + besides(inbox.path, /-restoring|-keeping/).length;
}
