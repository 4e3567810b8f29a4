/** What is asked of the service, and how soon it has to answer. */
import { DatabaseSync } from 'node:sqlite';
import { codeIn, COMMON_WORD, random, SENDERS, senderNumber } from './traffic.ts';

/** As many different requests as a round sends, or more. */
export const TARGETS = 200;

/** What is in the table before the round. */
interface Stored {
  readonly codes: readonly string[];
  readonly firstMs: number;
  readonly lastMs: number;
}

export interface ReadKind {
  readonly name: string;
  readonly perSecond: number;
  /** For the p99, in milliseconds. */
  readonly most?: number;
  readonly aim?: number;
  target(stored: Stored): string;
}

const pick = <Value>(values: readonly Value[]) => values[Math.floor(random() * values.length)];
const fromSender = (index: number) => `/messages?from=${encodeURIComponent(senderNumber(index))}`;
export const sinceInstant = (ms: number) => `since=${new Date(ms).toISOString()}`;

export const READ_KINDS: readonly ReadKind[] = [
  { name: 'GET /stats', perSecond: 20, most: 5, target: () => '/stats' },
  { name: 'first page', perSecond: 20, most: 5, target: () => '/messages' },
  { name: 'from any sender', perSecond: 20, most: 5, target: () => fromSender(Math.floor(random() * SENDERS)) },
  { name: 'from the biggest sender', perSecond: 20, most: 5, target: () => fromSender(0) },
  {
    name: 'since anywhere', perSecond: 20, most: 100, aim: 30,
    target: ({ firstMs, lastMs }) => `/messages?${sinceInstant(firstMs + random() * (lastMs - firstMs))}`,
  },
  { name: 'q with one match', perSecond: 20, most: 20, target: ({ codes }) => `/messages?q=${pick(codes)}` },
  { name: 'q that 1 % match', perSecond: 2, most: 500, aim: 150, target: () => `/messages?q=${COMMON_WORD}` },
  { name: 'q of two characters', perSecond: 2, target: () => '/messages?q=ke' },
];

/** Reference codes of messages that are in the table. */
export function drawCodes(path: string, rows: number): string[] {
  const database = new DatabaseSync(path, { readOnly: true });
  const select = database.prepare('SELECT text FROM messages WHERE id = ?');
  const codes = Array.from({ length: TARGETS }, () => codeIn(String(select.get(1 + Math.floor(random() * rows))?.['text'])));
  database.close();
  return codes;
}
