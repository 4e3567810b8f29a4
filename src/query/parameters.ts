import { type Fault, hasAtMostCharacters, instantOf, TIMESTAMP_RULE } from '../message.ts';
import type { MessageQuery } from '../storage/storage.ts';
import { readCursor } from './cursor.ts';

export const DEFAULT_LIMIT = 50;
export const MAX_LIMIT = 100;
/** Longest `q` in Unicode code points. */
export const Q_CHARACTERS = 256;
const KEPT_WHILE_PAGING = ['limit', 'from', 'since', 'q'];

export type QueryReading =
  /** `generation`: of the database that the cursor is from; undefined without a cursor. */
  | { readonly kind: 'valid'; readonly query: MessageQuery; readonly generation: string | undefined }
  | { readonly kind: 'malformed' }
  | { readonly kind: 'invalid'; readonly faults: readonly Fault[] };

/**
 * Reads the query string of GET /messages (README, GET /messages): form-encoded UTF-8, the last of a repeated parameter,
 * an empty value as none, unknown ones ignored. `malformed` where it is not valid percent-encoded UTF-8.
 */
export function readMessageQuery(queryString: string): QueryReading {
  const parameters = decodeForm(queryString);
  if (parameters === null) return { kind: 'malformed' };
  const faults: Fault[] = [];

  const given = (name: string) => parameters.get(name) || undefined;
  const refuse = (name: string, msg: string, type: string) => {
    faults.push({ loc: ['query', name], msg, type });
  };
  const wholeNumber = (name: string, fallback: number, least: number, most: number): number => {
    const text = given(name) ?? String(fallback);
    const number = /^[0-9]+$/.test(text) ? Number(text) : NaN;
    if (!(number >= least && number <= most)) refuse(name, `must be a whole number from ${least} to ${most}`, 'whole_number');
    return number;
  };

  const limit = wholeNumber('limit', DEFAULT_LIMIT, 1, MAX_LIMIT);
  const offset = wholeNumber('offset', 0, 0, Number.MAX_SAFE_INTEGER);
  const from = given('from');
  const sinceTs = given('since');
  const since = sinceTs === undefined ? undefined : instantOf(sinceTs);
  if (since === null) refuse('since', TIMESTAMP_RULE, 'timestamp');
  const q = given('q');
  if (q !== undefined && !hasAtMostCharacters(q, Q_CHARACTERS)) {
    refuse('q', `must have at most ${Q_CHARACTERS} characters`, 'string_too_long');
  }
  const cursorText = given('cursor');
  const cursor = cursorText === undefined ? undefined : readCursor(cursorText);
  if (cursor === null) refuse('cursor', 'must be as it came in the Link header of an earlier page', 'cursor');
  if (cursorText !== undefined && offset > 0) refuse('offset', 'must be 0 where a cursor is given', 'cursor_with_offset');

  if (faults.length > 0) return { kind: 'invalid', faults };
  return {
    kind: 'valid',
    generation: cursor?.generation,
    query: {
      limit,
      offset,
      ...(cursor && { after: cursor.after }),
      ...(from !== undefined && { from: restorePlus(from) }),
      ...(since !== undefined && since !== null && { since }),
      ...(q !== undefined && { q }),
    },
  };
}

/** The query string of the page that follows one: the same but for where it begins. */
export function queryOfNextPage(queryString: string, cursor: string): string {
  const same = [...decodeForm(queryString) ?? []].filter(([name, value]) => KEPT_WHILE_PAGING.includes(name) && value !== '');
  return new URLSearchParams([...same, ['cursor', cursor]]).toString();
}

/** In a form-encoded query a bare `+` means a space, so a number pasted unescaped arrives with one. */
function restorePlus(from: string): string {
  return from.replace(/^ (?=[1-9][0-9]{1,14}$)/, '+');
}

/** The last value of each parameter (WHATWG URL, application/x-www-form-urlencoded), or null where it does not decode. */
function decodeForm(queryString: string): Map<string, string> | null {
  const parameters = new Map<string, string>();
  try {
    for (const pair of queryString.split('&')) {
      const [name = '', ...value] = pair.replaceAll('+', ' ').split('=');
      parameters.set(decodeURIComponent(name), decodeURIComponent(value.join('=')));
    }
    return parameters;
  } catch {
    return null;
  }
}
