/** The figures that rounds of ingest have in common. */
import type { Round } from './rounds.ts';
import { below, exactly, type Figure, figure, latencyAt, memoryFigure, notAccepted } from './stage.ts';

/** `share`: the percentile as a fraction; `bound`: in milliseconds, exclusive. */
export function latency(name: string, rounds: readonly Round[], share: number, bound?: number): Figure {
  const values = rounds.map(({ result }) => latencyAt(result, share));
  return figure(`${name}: p${share * 100}`, values, ' ms', bound === undefined ? undefined : below(bound, ' ms'));
}

/** Whether what was measured is what was meant to be measured, and within bounds. */
export function soundness(name: string, rounds: readonly Round[]): Figure[] {
  const sum = (count: (round: Round) => number) => rounds.reduce((total, round) => total + count(round), 0);
  return [
    memoryFigure(name, rounds.map(({ peakMegabytes }) => peakMegabytes)),
    figure(`${name}: messages not in the read index at the end`, rounds.map(({ indexLag }) => indexLag), ''),
    exactly(`${name}: answers other than 200, or none`, sum(({ result }) => notAccepted(result)), 0),
    exactly(`${name}: acknowledged and not in GET /stats`, sum(({ miscounted }) => Math.abs(miscounted)), 0),
    exactly(`${name}: log lines dropped`, sum(({ droppedLogLines }) => droppedLogLines), 0),
  ];
}
