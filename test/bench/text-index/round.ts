/** One round over a database: searches alone and beside ingest at half the maximum, and ingest without searches. */
import { get, runLoad, type Service, startLoad, startService } from '../processes.ts';
import type { Result } from '../load-generator.ts';
import { closedLoop, openLoop, WARM_UP_SECONDS } from '../rounds.ts';
import { inScope } from '../scope.ts';
import { acceptedIn, perSecond } from '../stage.ts';
import { COMMON_WORD } from '../traffic.ts';
import { indexed } from './making.ts';
import { NONE, type Variant } from './variants.ts';

/** A search that takes long ends after the time for searches. */
const SEARCH_ENDS_LATE_SECONDS = 1;

export const SEARCHES = ['a word in one message', 'a word in 1 % of them', 'four characters in all of them'] as const;

/** Requests for each of them; `codes` are words that one message has. */
export const targetsOf = (codes: readonly string[]): string[][] => [codes, [COMMON_WORD], ['Ref ']].map((words) =>
  words.map((word) => `/messages?limit=50&q=${encodeURIComponent(word)}`));

export interface Ingest {
  readonly result: Result;
  /** Processor time in microseconds a message, until the index has them too: of the whole process, and of threads of it. */
  readonly processor: { readonly all: number; readonly writer: number; readonly indexer: number };
  /** Messages that the read index did not have at the end. */
  readonly lag: number;
}

export interface Round {
  readonly full: Ingest;
  readonly half: Ingest;
  /** While the searches are made. */
  readonly halfWithSearches: Ingest | null;
  /** In the order of SEARCHES; none where there is no text index. */
  readonly alone: readonly Result[];
  readonly besideIngest: readonly Result[];
}

interface Plan {
  readonly path: string;
  readonly variant: Variant;
  readonly codes: readonly string[];
  /** Of each measurement. */
  readonly seconds: number;
  /** Messages a second at half the maximum. */
  readonly half: number;
}

export async function measureRound({ path, variant, codes, seconds, half }: Plan): Promise<Round> {
  return inScope(async (scope) => {
    const service = await startService(scope, path, variant.nodeOptions);
    const searchAll = async () => {
      const results: Result[] = [];
      for (const targets of variant === NONE ? [] : targetsOf(codes)) {
        results.push(await runLoad(scope, { port: service.port, connections: 1, seconds, send: { targets } }));
      }
      return results;
    };
    const ingest = async (job: Parameters<typeof startLoad>[1], meanwhile = async () => {}) => measureIngest(service, async () => {
      const load = startLoad(scope, job);
      await load.started;
      await meanwhile();
      return load.result;
    });
    await indexed(service);
    const alone = await searchAll();
    await runLoad(scope, closedLoop(service.port, 'random', WARM_UP_SECONDS));
    const full = await ingest(closedLoop(service.port, 'random', seconds));
    await indexed(service);
    const halfAlone = await ingest(openLoop(service.port, half, seconds));
    let besideIngest: readonly Result[] = [];
    const longEnough = SEARCHES.length * (seconds + SEARCH_ENDS_LATE_SECONDS);
    const halfWithSearches = variant === NONE ? null : await ingest(openLoop(service.port, half, longEnough), async () => {
      besideIngest = await searchAll();
    });
    await service.end('SIGTERM');
    return { full, half: halfAlone, halfWithSearches, alone, besideIngest };
  });
}

async function measureIngest(service: Service, load: () => Promise<Result>): Promise<Ingest> {
  const times = () => ({
    all: service.processorSeconds(), writer: service.processorSeconds('writer'), indexer: service.processorSeconds('indexer'),
  });
  const before = times();
  const result = await load();
  const lag = Number(/^storage_index_lag_messages (\d+)/m.exec((await get(`${service.url}/metrics`)).body)?.[1]);
  await indexed(service);
  const after = times();
  const perMessage = (of: keyof typeof before) => ((after[of] - before[of]) * 1e6) / acceptedIn(result);
  return { result, processor: { all: perMessage('all'), writer: perMessage('writer'), indexer: perMessage('indexer') }, lag };
}

/** The most messages a second without a text index. */
export async function maximumRate(path: string, seconds: number): Promise<number> {
  return inScope(async (scope) => {
    const service = await startService(scope, path, NONE.nodeOptions);
    await runLoad(scope, closedLoop(service.port, 'random', WARM_UP_SECONDS));
    const result = await runLoad(scope, closedLoop(service.port, 'random', seconds));
    await service.end('SIGTERM');
    return perSecond(result);
  });
}
