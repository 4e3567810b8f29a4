/** Reads environment variables, and the files that some of them name; collects every problem instead of stopping at the first. */
import { readFileSync, statSync } from 'node:fs';

export type Reading<Value> =
  | { readonly valid: true; readonly value: Value }
  | { readonly valid: false; readonly problems: readonly string[] };

/** Problems are collected in `problems`, and repeat no value, as a mistyped one may be a secret. Nothing here throws. */
export interface Environment {
  readonly problems: string[];
  isSet(name: string): boolean;
  /** As it is; undefined where it is not set. */
  text(name: string): string | undefined;
  /** What `parse` makes of a variable; `fallback` where it is not set. Set but empty, or undefined from `parse`, is a problem. */
  read<Value>(name: string, fallback: Value, rule: string, parse: (text: string) => Value | undefined): Value;
  wholeNumber(name: string, fallback: number, least: number, most: number): number;
  /** The bytes of the file that a variable names, or null with a problem. */
  file(name: string): Buffer | null;
  /** The bytes of a file, or null with a problem that names what gave its path. */
  fileAt(path: string, name: string): Buffer | null;
  /**
   * The text of NAME, or of the file that NAME_FILE names, without one newline at its end; null where neither is set, or with
   * a problem. Set but empty is a problem, except where `emptyIsNone`.
   */
  secret(name: string, options?: { readonly emptyIsNone: boolean }): string | null;
}

/** Far more than a key or a chain of certificates has. */
const LARGEST_FILE_BYTES = 1024 * 1024;

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Lets `read` take what it needs from the environment, and returns that, or every problem that it met. */
export function readEnvironment<Value>(variables: NodeJS.ProcessEnv, read: (environment: Environment) => Value): Reading<Value> {
  const environment = createEnvironment(variables);
  const value = read(environment);
  const { problems } = environment;
  return problems.length === 0 ? { valid: true, value } : { valid: false, problems };
}

function createEnvironment(variables: NodeJS.ProcessEnv): Environment {
  const problems: string[] = [];
  const refuse = (problem: string) => {
    problems.push(problem);
    return null;
  };

  const environment: Environment = {
    problems,
    isSet: (name) => variables[name] !== undefined,
    text: (name) => variables[name],
    read(name, fallback, rule, parse) {
      const text = variables[name];
      if (text === undefined) return fallback;
      const value = text === '' ? undefined : parse(text);
      const must = text === '' ? 'is set but empty: it must be' : 'must be';
      if (value === undefined) refuse(`${name} ${must} ${rule}`);
      return value ?? fallback;
    },
    wholeNumber: (name, fallback, least, most) =>
      environment.read(name, fallback, `a whole number from ${least} to ${most}`, (text) => {
        const number = /^[0-9]{1,15}$/.test(text) ? Number(text) : NaN;
        return number >= least && number <= most ? number : undefined;
      }),
    file(name) {
      const path = variables[name] ?? '';
      return path === '' ? refuse(`${name} is set but empty: it must be the path of a file`) : environment.fileAt(path, name);
    },
    fileAt(path, name) {
      try {
        const status = statSync(path);
        // A pipe could hold the whole process until somebody writes to it.
        if (status.isFile() && status.size <= LARGEST_FILE_BYTES) return readFileSync(path);
        return refuse(`${name} must be a regular file of at most ${LARGEST_FILE_BYTES} bytes`);
      } catch (error) {
        const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
        return refuse(`${name} must be a file that this user can read (${code})`);
      }
    },
    secret(name, { emptyIsNone } = { emptyIsNone: false }) {
      const fileName = `${name}_FILE`;
      const inline = variables[name];
      if (variables[fileName] === undefined) {
        if (inline === '') return emptyIsNone ? null : refuse(`${name} is set but empty: give it a value, or do not set it`);
        return inline ?? null;
      }
      if (inline !== undefined) return refuse(`${name} and ${fileName} are both set: keep one of them`);
      const bytes = environment.file(fileName);
      if (bytes === null) return null;
      try {
        const text = strictUtf8.decode(bytes).replace(/\r?\n$/, '');
        return text === '' ? refuse(`${fileName} names a file that is empty`) : text;
      } catch {
        return refuse(`${fileName} must be a file of UTF-8 text`);
      }
    },
  };
  return environment;
}
