/**
 * `make torture-cluster`: what befalls a PostgreSQL cluster and its receivers, round after round, while messages come and streams are
 * read. Words choose the kinds of rounds, by names that have them all; `--rounds N` is how many there are in all, 20 by default.
 */
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { isInstalled } from '../support/postgres.ts';
import { waitFor } from '../support/wait.ts';
import { startCluster } from './cluster/cluster.ts';
import { follow, type Follower } from './cluster/followers.ts';
import { createReceiver, type Receiver } from './cluster/receivers.ts';
import { KINDS, runRound, type Round } from './cluster/rounds.ts';
import { startSenders } from './cluster/senders.ts';
import { isCommand, runAndReport } from './report.ts';
import { atMost, eachOnce, exactly, type Figure, type Scenario } from './scenario.ts';

const ACCEPTING_S = 5;
const REQUEST_S = 5;
/** For a machine that runs all of it at once. */
const TOLERANCE_S = 1;

const { values, positionals } = parseArgs({ options: { rounds: { type: 'string', default: '20' } }, allowPositionals: true });
const rounds = Number(values.rounds);
const kinds = KINDS.filter((kind) => positionals.every((word) => kind.includes(word)));

const scenario: Scenario = {
  name: `PostgreSQL under Patroni, three nodes, two receivers, ${rounds} rounds`,
  async run(scope, progress) {
    const cluster = await startCluster(scope);
    progress('the cluster is whole');
    const [one, other] = [await createReceiver(scope, 'receiver A', cluster.env), await createReceiver(scope, 'receiver B', cluster.env)];
    const receivers = [one, other] as const;
    for (const receiver of receivers) await receiver.start();
    const followers = receivers.map((receiver) => follow(scope, receiver));
    const senders = startSenders(scope, receivers);
    const ran: Round[] = [];
    for (let number = 1; number <= rounds; number += 1) {
      const round = await runRound(kinds[(number - 1) % kinds.length] ?? '', number, { cluster, receivers, senders });
      ran.push(round);
      progress(`round ${number} of ${rounds}, ${tell(round)}; ${senders.acknowledged.size} acknowledged`);
    }
    await senders.stop();
    const stored = (await cluster.sql('SELECT message_id FROM messages')).split('\n');
    const totals = await cluster.sql(`SELECT concat(count(*), ', ', count(DISTINCT from_number)) FROM messages`);
    // Where they never get all, the figures tell it.
    await waitFor('all events', () => followers.every((follower) => follower.count() >= stored.length)).catch(() => {});
    const longest = senders.longest();
    return [
      ...timesOf(ran),
      atMost(`longest of ${senders.requests()} requests (${longest.what}), on ${availableParallelism()} processors`, longest.ms / 1000,
        REQUEST_S + TOLERANCE_S, ' s'),
      ...countsOf(senders.acknowledged, stored),
      ...await totalsOf(receivers, totals),
      ...streamsOf(followers, stored.length),
    ];
  },
};

function tell({ kind, down, accepting, whole }: Round): string {
  const shown = accepting.map((seconds) => seconds.toFixed(1)).join(' and ');
  return `${kind}: up after ${down.toFixed(1)} s, accepting ${shown} s later, whole after ${whole.toFixed(1)} s`;
}

function timesOf(ran: readonly Round[]): Figure[] {
  return kinds.flatMap((kind) => {
    const ofKind = ran.filter((round) => round.kind === kind);
    if (ofKind.length === 0) return [];
    const longest = Math.max(...ofKind.flatMap(({ accepting }) => accepting));
    return [atMost(`${kind}, ${ofKind.length} times: until both accepted again`, longest, ACCEPTING_S, ' s')];
  });
}

function countsOf(acknowledged: ReadonlySet<string>, stored: readonly string[]): Figure[] {
  const distinct = new Set(stored);
  return [
    exactly(`acknowledged messages lost, of ${acknowledged.size}`, [...acknowledged].filter((id) => !distinct.has(id)).length, 0),
    exactly('messages stored twice', stored.length - distinct.size, 0),
  ];
}

function totalsOf(receivers: readonly Receiver[], totals: string): Promise<Figure[]> {
  return Promise.all(receivers.map(async ({ name, url }) => {
    const stats: { total_messages?: number; senders_count?: number } = JSON.parse(await (await fetch(`${url}/stats`)).text());
    return exactly(`messages and senders in /stats of ${name}, and by SQL`, `${stats.total_messages}, ${stats.senders_count}`, totals);
  }));
}

function streamsOf(followers: readonly Follower[], stored: number): Figure[] {
  const [one = [], other = []] = followers.map((follower) => follower.ids());
  const longer = one.length > other.length ? one : other;
  return [
    ...followers.map(({ name, connections, ids }) =>
      eachOnce(`messages on the stream of ${name}, over ${connections()} connections`, ids(), stored)),
    exactly('positions in the stream that were refused (410)', followers.reduce((sum, follower) => sum + follower.refusals(), 0), 0),
    exactly('places at which the two streams differ', longer.filter((_, at) => one[at] !== other[at]).length, 0),
  ];
}

const missing = [...isInstalled ? [] : ['postgresql'], ...['patroni', 'etcd'].filter((command) => !isCommand(command))];
const usage = `the words are of ${KINDS.join(', ')}; --rounds is a number from 1`;
if (missing.length > 0 || kinds.length === 0 || !Number.isSafeInteger(rounds) || rounds < 1) {
  console.error(missing.length > 0 ? `not installed: ${missing.join(', ')}` : usage);
  process.exitCode = 1;
} else {
  await runAndReport([scenario]);
}
