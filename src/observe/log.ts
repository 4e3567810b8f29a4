import { escapeLineEnds } from '../line-ends.ts';
import type { LineWriter } from './line-writer.ts';

export const LOG_LEVELS = ['DEBUG', 'INFO', 'WARNING', 'ERROR'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** What a line may carry. Callers pass identifiers, counts and codes only: never a secret, signature, text or phone number. */
export type LogFields = Readonly<Record<string, unknown>>;

/**
 * Writes one JSON object a line, whatever its reader takes for a line end: `ts` (UTC), `level`, `event`, then the fields. Lines below
 * the level are not made.
 */
export type Log = (level: LogLevel, event: string, fields?: LogFields) => void;

export function createLog(lines: LineWriter, lowest: LogLevel, now: () => number = Date.now): Log {
  const threshold = LOG_LEVELS.indexOf(lowest);
  let at = NaN;
  let ts = '';
  return (level, event, fields) => {
    if (LOG_LEVELS.indexOf(level) < threshold) return;
    const time = now();
    // Many lines fall into one millisecond, and writing it out takes as long as the rest of a line.
    if (time !== at) ts = new Date(at = time).toISOString();
    const head = `{"ts":"${ts}","level":"${level}","event":${JSON.stringify(event)}`;
    const rest = fields === undefined ? '{}' : JSON.stringify(fields);
    lines.write(escapeLineEnds(rest === '{}' ? `${head}}` : `${head},${rest.slice(1)}`));
  };
}

/** The line that stands for so many that were lost, as nobody took them. */
export function describeLostLines(lines: number): string {
  return JSON.stringify({ ts: new Date().toISOString(), level: 'WARNING', event: 'log_lines_lost', lines });
}

/**
 * What may be said of an unexpected error: its name, code and where it was thrown. Not its message, which can hold a
 * piece of the input (JSON.parse quotes it).
 */
export function describeError(error: unknown): LogFields {
  if (!(error instanceof Error)) return { error: typeof error };
  const frames = (error.stack ?? '').split('\n').filter((line) => /^\s+at /.test(line)).map((line) => line.trim());
  return { error: error.name, code: 'code' in error ? String(error.code) : null, stack: frames.slice(0, 10) };
}
