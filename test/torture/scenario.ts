import { readFileSync } from 'node:fs';
import { startServerProcess, type ServerProcess, type ServerProcessOptions } from '../support/server-process.ts';
import type { Scope } from '../support/temporary.ts';

/** One measured figure and the bound that it has to keep. */
export interface Figure {
  readonly what: string;
  readonly measured: string;
  readonly bound: string;
  readonly holds: boolean;
}

export interface Scenario {
  readonly name: string;
  /** What has to be installed for it, by the names of the commands. */
  readonly needs?: readonly string[];
  run(scope: Scope, progress: (text: string) => void): Promise<readonly Figure[]>;
}

export const atMost = (what: string, measured: number, bound: number, unit = ''): Figure =>
  ({ what, measured: `${Math.round(measured * 10) / 10}${unit}`, bound: `≤ ${bound}${unit}`, holds: measured <= bound });
export const atLeast = (what: string, measured: number, bound: number, unit = ''): Figure =>
  ({ what, measured: `${Math.round(measured * 10) / 10}${unit}`, bound: `≥ ${bound}${unit}`, holds: measured >= bound });
export const exactly = (what: string, measured: string | number, bound: string | number): Figure =>
  ({ what, measured: String(measured), bound: String(bound), holds: measured === bound });
/** Ids that came, each once, and as many as there are messages. */
export const eachOnce = (what: string, ids: readonly string[], messages: number) =>
  exactly(`${what}, and how many of them are distinct`, `${ids.length}, ${new Set(ids).size}`, `${messages}, ${messages}`);

export interface Target {
  readonly server: ServerProcess;
  readonly url: string;
  readonly port: number;
}

/** The built server as a process, listening. */
export async function startTarget(scope: Scope, options: Partial<ServerProcessOptions> & Pick<ServerProcessOptions, 'env'>): Promise<Target> {
  const server = startServerProcess(scope, { script: 'dist/server.js', ...options });
  const url = await server.url();
  return { server, url, port: Number(new URL(url).port) };
}

/** Resident memory of a process in MB (proc(5)). */
export function residentMegabytes(pid: number | undefined): number {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
}

/** An id source that never gives one twice, whatever process it is in. */
export function createIds(prefix: string): () => string {
  let given = 0;
  return () => `${prefix}-${given += 1}`;
}

/** Asks one URL again and again until `done`, and returns how long each answer took, in milliseconds. */
export async function probeLatency(url: string, done: () => boolean): Promise<number[]> {
  const latencies: number[] = [];
  while (!done()) {
    const begin = performance.now();
    await (await fetch(url)).text();
    latencies.push(performance.now() - begin);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return latencies;
}
