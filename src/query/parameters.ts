import { type Fault, hasAtMostCharacters, instantOf, TIMESTAMP_RULE } from '../message.ts';
import type { Erasure, MessageFilter, MessageQuery } from '../storage/storage.ts';
import { type Field, FIELDS } from './fields.ts';
import { readCursor, readStreamPosition, type StreamPosition } from './positions.ts';

const DEFAULT_LIMIT = 50;
const MAX_LIMIT = 100;
/** Longest `q` in Unicode code points. */
const Q_CHARACTERS = 256;
const KEPT_WHILE_PAGING = ['limit', 'order', 'message_id', 'from', 'since', 'q', 'fields'];

/** What a query string asks for; `malformed` where it is not valid percent-encoded UTF-8, else with every fault at once. */
export type QueryReading<Asked> =
  | { readonly kind: 'valid' } & Asked
  | { readonly kind: 'malformed' }
  | { readonly kind: 'invalid'; readonly faults: readonly Fault[] };

/** `generation`: of the database that the cursor is from; undefined without a cursor. */
export interface PageAsked {
  readonly query: MessageQuery;
  readonly fields: readonly Field[];
  readonly generation: string | undefined;
}

/** Reads the query string of GET /messages (http/README.md, GET /messages). */
export function readMessageQuery(queryString: string): QueryReading<PageAsked> {
  return readQuery(queryString, ({ given, refuse, wholeNumber, filter, fields: readFields }) => {
    const fields = readFields();
    const limit = wholeNumber('limit', DEFAULT_LIMIT, 1, MAX_LIMIT);
    const offset = wholeNumber('offset', 0, 0, Number.MAX_SAFE_INTEGER);
    const order = given('order') ?? 'oldest';
    if (order !== 'oldest' && order !== 'newest') refuse('order', 'must be oldest or newest', 'order');
    const sinceTs = given('since');
    const since = sinceTs === undefined ? undefined : instantOf(sinceTs);
    if (since === null) refuse('since', TIMESTAMP_RULE, 'timestamp');
    const cursorText = given('cursor');
    const cursor = cursorText === undefined ? undefined : readCursor(cursorText);
    if (cursor === null) refuse('cursor', 'must be as it came in the Link header of an earlier page', 'cursor');
    if (cursorText !== undefined && offset > 0) refuse('offset', 'must be 0 where a cursor is given', 'cursor_with_offset');
    return {
      generation: cursor?.generation,
      fields,
      query: {
        ...filter(),
        limit,
        offset,
        ...(order === 'newest' && { newestFirst: true }),
        ...(cursor && { after: cursor.after }),
        ...(since !== undefined && since !== null && { since }),
        ...(fields.length > 0 && { withReceipts: true }),
      },
    };
  });
}

/** `from`: after a position, from the first message that was stored, or only what is stored from now on. */
export interface StreamAsked {
  readonly filter: MessageFilter;
  readonly fields: readonly Field[];
  readonly begin: StreamPosition | 'start' | 'now';
}

/** Reads the query string of GET /messages/stream. The header Last-Event-ID of a reader that comes again goes before `after`. */
export function readStreamQuery(queryString: string, lastEventId: string): QueryReading<StreamAsked> {
  return readQuery(queryString, ({ given, refuse, filter, fields }) => {
    const text = lastEventId || given('after');
    const begin = text === undefined ? 'now' : text === 'start' ? 'start' : readStreamPosition(text);
    if (begin === null) refuse('after', 'must be start, or as it came as the id of an event, here and in Last-Event-ID', 'stream_position');
    return { filter: filter(), fields: fields(), begin: begin ?? 'now' };
  });
}

const ERASED_BY = ['from', 'to', 'message_id'] as const;

/**
 * Reads the query string of DELETE /messages: exactly one of these, once, and nothing else. What cannot be undone is done only where it
 * is said without a doubt.
 */
export function readErasure(queryString: string): QueryReading<{ readonly which: Erasure }> {
  const pairs = decodePairs(queryString);
  if (pairs === null) return { kind: 'malformed' };
  const [[name, value = ''] = [], ...more] = pairs;
  const isOne = ERASED_BY.some((known) => known === name) && value !== '' && more.length === 0;
  if (!isOne) {
    const fault: Fault = { loc: ['query'], msg: `must be exactly one of ${ERASED_BY.join(', ')}, once and with a value`, type: 'erasure' };
    return { kind: 'invalid', faults: [fault] };
  }
  if (name === 'message_id') return { kind: 'valid', which: { message_id: value } };
  return { kind: 'valid', which: name === 'to' ? { to: restorePlus(value) } : { from: restorePlus(value) } };
}

/** The query string of the page that follows one: the same but for where it begins. */
export function queryOfNextPage(queryString: string, cursor: string): string {
  const same = [...decodeForm(queryString) ?? []].filter(([name, value]) => KEPT_WHILE_PAGING.includes(name) && value !== '');
  return new URLSearchParams([...same, ['cursor', cursor]]).toString();
}

interface Parameters {
  /** The last value, or undefined where it is not given or empty. */
  given(name: string): string | undefined;
  refuse(name: string, msg: string, type: string): void;
  /** Digits only, within the bounds. */
  wholeNumber(name: string, fallback: number, least: number, most: number): number;
  /** `message_id`, `from` and `q`. */
  filter(): MessageFilter;
  fields(): readonly Field[];
}

/** Form-encoded UTF-8: the last of a repeated parameter, an empty value as none, unknown ones ignored. */
function readQuery<Asked>(queryString: string, read: (parameters: Parameters) => Asked): QueryReading<Asked> {
  const values = decodeForm(queryString);
  if (values === null) return { kind: 'malformed' };
  const faults: Fault[] = [];

  const given: Parameters['given'] = (name) => values.get(name) || undefined;
  const refuse: Parameters['refuse'] = (name, msg, type) => {
    faults.push({ loc: ['query', name], msg, type });
  };
  const asked = read({
    given,
    refuse,
    wholeNumber(name, fallback, least, most) {
      const text = given(name) ?? String(fallback);
      const number = /^[0-9]+$/.test(text) ? Number(text) : NaN;
      if (!(number >= least && number <= most)) refuse(name, `must be a whole number from ${least} to ${most}`, 'whole_number');
      return number;
    },
    filter() {
      const message_id = given('message_id');
      const from = given('from');
      const q = given('q');
      if (q !== undefined && !hasAtMostCharacters(q, Q_CHARACTERS)) {
        refuse('q', `must have at most ${Q_CHARACTERS} characters`, 'string_too_long');
      }
      return {
        ...(message_id !== undefined && { message_id }),
        ...(from !== undefined && { from: restorePlus(from) }),
        ...(q !== undefined && { q }),
      };
    },
    fields() {
      const names = given('fields')?.split(',') ?? [];
      const isKnown = names.every((name) => FIELDS.some((field) => field === name));
      if (!isKnown) refuse('fields', `must be one or both of ${FIELDS.join(',')}`, 'fields');
      return FIELDS.filter((field) => names.includes(field));
    },
  });
  return faults.length > 0 ? { kind: 'invalid', faults } : { kind: 'valid', ...asked };
}

/** In a form-encoded query a bare `+` means a space, so a number pasted unescaped arrives with one. */
function restorePlus(from: string): string {
  return from.replace(/^ (?=[1-9][0-9]{1,14}$)/, '+');
}

/** The last value of each parameter (WHATWG URL, application/x-www-form-urlencoded), or null where it does not decode. */
function decodeForm(queryString: string): Map<string, string> | null {
  const pairs = decodePairs(queryString);
  return pairs && new Map(pairs);
}

/** All of them, in their order; without those that are empty as a whole, as between two `&`. */
function decodePairs(queryString: string): [string, string][] | null {
  try {
    return queryString.split('&').filter((pair) => pair !== '').map((pair) => {
      const [name = '', ...value] = pair.replaceAll('+', ' ').split('=');
      return [decodeURIComponent(name), decodeURIComponent(value.join('='))];
    });
  } catch {
    return null;
  }
}
