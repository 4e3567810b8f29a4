import { test } from 'node:test';
import type { Scope } from './temporary.ts';

/** A reproducible source of randomness. */
export interface Random {
  /** A whole number from 0 up to, not including, `below`. */
  below(below: number): number;
  pick<Value>(values: readonly [Value, ...Value[]]): Value;
  /** A string of up to `length` parts, each drawn by `draw`. */
  text(length: number, draw: () => string): string;
}

/** Mulberry32 (Tommy Ettinger): small, fast, and good enough to choose test cases. */
export function createRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (bound: number) => Math.floor(next() * bound);
  return {
    below,
    pick: (values) => values[below(values.length)] ?? values[0],
    text: (length, draw) => Array.from({ length: below(length + 1) }, draw).join(''),
  };
}

/**
 * A test that draws `cases` cases from a new seed each time; set FUZZ_SEED to see a failure again. A failure names the
 * seed and the case.
 */
export function fuzz(name: string, cases: number, check: (random: Random, scope: Scope) => void | Promise<void>): void {
  test(name, async (t) => {
    const seed = Number(process.env['FUZZ_SEED'] ?? Math.floor(Math.random() * 2 ** 32));
    t.diagnostic(`FUZZ_SEED=${seed}`);
    const random = createRandom(seed);
    for (let drawn = 0; drawn < cases; drawn += 1) {
      try {
        await check(random, t);
      } catch (error) {
        throw new Error(`case ${drawn} of FUZZ_SEED=${seed}`, { cause: error });
      }
    }
  });
}
