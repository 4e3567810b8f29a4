import type { Environment } from './environment.ts';
import { findingsOf } from './pasted.ts';

/** Says something of a credential, after its name. */
export type Say = (words: string) => void;

/** Reads secret texts, and keeps what an operator should know of them. */
export interface Secrets {
  /** The names of those that were read. */
  readonly set: readonly string[];
  /** What is accepted and yet unwise, in words for an operator. */
  readonly warnings: readonly string[];
  /**
   * The text of a variable, or of the file that another names; null where neither is set, or with a problem. Fewer than `leastBytes` are a
   * warning.
   */
  read(name: string, leastBytes: number): string | null;
  /** False with a problem where a text cannot be meant; `name` is what gave it, for an operator. */
  isMeant(name: string, text: string, leastBytes: number): boolean;
  refuse(name: string): Say;
  warn(name: string): Say;
}

export function createSecrets(environment: Environment): Secrets {
  const set: string[] = [];
  const warnings: string[] = [];
  const secrets: Secrets = {
    set,
    warnings,
    read(name, leastBytes) {
      const text = environment.secret(name, { emptyIsNone: name === 'WEBHOOK_SECRET' });
      if (text === null) return null;
      set.push(name);
      return secrets.isMeant(name, text, leastBytes) ? text : null;
    },
    isMeant(name, text, leastBytes) {
      const { refusal, doubts } = findingsOf(text);
      if (refusal !== null) {
        secrets.refuse(name)(refusal);
        return false;
      }
      const warn = secrets.warn(name);
      if (Buffer.byteLength(text) < leastBytes) warn(`has fewer than ${leastBytes} bytes: use a longer one`);
      for (const doubt of doubts) warn(`${doubt}, unless meant`);
      return true;
    },
    refuse: (name) => (rule) => void environment.problems.push(`${name} ${rule}`),
    warn: (name) => (doubt) => void warnings.push(`${name} ${doubt}`),
  };
  return secrets;
}
