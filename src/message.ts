/**
 * The domain: what a message is, what makes one valid, and how its time orders.
 * Fields are named as on the wire, in the log and in the database, so that one word finds them all.
 */

export interface Message {
  readonly message_id: string;
  readonly from: string;
  readonly to: string;
  readonly ts: string;
  readonly text: string | null;
}

/** One thing wrong with a request: where, what to change, and a stable code for programs. */
export interface Fault {
  readonly loc: readonly string[];
  readonly msg: string;
  readonly type: string;
}

export type Validation =
  | { readonly valid: true; readonly message: Message }
  | { readonly valid: false; readonly faults: readonly Fault[] };

/** Longest `message_id` in Unicode code points. */
const MESSAGE_ID_CHARACTERS = 512;
/** Longest `text` in Unicode code points. */
const TEXT_CHARACTERS = 4096;

/** ITU-T E.164: a country code that never begins with 0, at most 15 digits in all. */
const E164 = /^\+[1-9][0-9]{1,14}$/;
/** Unicode general category Cc: U+0000 to U+001F and U+007F to U+009F. */
const CONTROL_CHARACTER = /\p{Cc}/u;
/** RFC 3339 section 5.6, narrowed to UTC in capitals and to nanoseconds. */
const UTC_TIMESTAMP = /^(\d{4})-(\d{2})-(\d{2})T(\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,9}))?Z$/;

const DAYS_IN_MONTH = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/** Whether `text` has at most `limit` Unicode code points. */
export function hasAtMostCharacters(text: string, limit: number): boolean {
  if (text.length <= limit) return true;
  if (text.length > limit * 2) return false;
  let characters = 0;
  for (const _ of text) characters += 1;
  return characters <= limit;
}

/** RFC 3339 appendix C: the Gregorian leap year, for any year from 0000. */
function daysIn(year: number, month: number): number {
  const leap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
  return month === 2 && leap ? 29 : (DAYS_IN_MONTH[month - 1] ?? 0);
}

/**
 * The instant that a `ts` names, as text whose byte order is the order in time: the trailing `Z` and every trailing
 * zero of the fraction are dropped, so `10:00:00`, `10:00:00.5`, `10:00:01`. Text rather than an integer, because
 * nanoseconds overflow 64 bits in the year 2262.
 * Returns null where `ts` is not of the form `YYYY-MM-DDThh:mm:ss[.fraction]Z` or names no real date and time.
 */
export function instantOf(ts: string): string | null {
  const fields = UTC_TIMESTAMP.exec(ts);
  if (fields === null) return null;
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = fields.slice(1, 7).map(Number);
  const exists = day >= 1 && day <= daysIn(year, month) && hour <= 23 && minute <= 59 && second <= 59;
  if (!exists) return null;
  const fraction = fields[7]?.replace(/0+$/, '') ?? '';
  return fraction === '' ? ts.slice(0, 19) : `${ts.slice(0, 19)}.${fraction}`;
}

/** What a phone number has to look like, for a fault's `msg`. */
const E164_RULE = "must be an E.164 number: '+', a first digit from 1 to 9, 2 to 15 digits in all";
export const TIMESTAMP_RULE =
  'must be an existing UTC time of the form YYYY-MM-DDThh:mm:ss[.fraction]Z with 1 to 9 fraction digits';

type Rule = (value: string) => Omit<Fault, 'loc'> | null;

const tooShort = { msg: 'must have at least 1 character', type: 'string_too_short' };
const tooLong = (limit: number) => ({ msg: `must have at most ${limit} characters`, type: 'string_too_long' });

const RULES = {
  message_id(value) {
    if (value === '') return tooShort;
    if (!hasAtMostCharacters(value, MESSAGE_ID_CHARACTERS)) return tooLong(MESSAGE_ID_CHARACTERS);
    if (CONTROL_CHARACTER.test(value)) return { msg: 'must have no control characters', type: 'control_character' };
    return null;
  },
  from: phoneNumber,
  to: phoneNumber,
  ts: (value) => (instantOf(value) === null ? { msg: TIMESTAMP_RULE, type: 'timestamp' } : null),
  text(value) {
    if (!hasAtMostCharacters(value, TEXT_CHARACTERS)) return tooLong(TEXT_CHARACTERS);
    // SQLite's text functions stop at NUL: what follows it could never be found again.
    if (value.includes('\0')) return { msg: 'must not contain U+0000', type: 'nul_character' };
    return null;
  },
} satisfies Record<keyof Message, Rule>;

function phoneNumber(value: string): ReturnType<Rule> {
  return E164.test(value) ? null : { msg: E164_RULE, type: 'e164' };
}

/**
 * Judges a parsed JSON value as a message (http/README.md, POST /webhook). Unknown fields are ignored, a missing `text` is null.
 * Every fault is reported at once; no fault repeats a value.
 */
export function validateMessage(input: unknown): Validation {
  if (!isObject(input)) {
    return { valid: false, faults: [{ loc: ['body'], msg: 'must be a JSON object', type: 'object_type' }] };
  }
  const faults: Fault[] = [];

  const read = (name: keyof Message): string => {
    const value = input[name];
    const fault = value === undefined ? { msg: 'is required', type: 'missing' } : stringFault(value, RULES[name]);
    if (fault !== null) faults.push({ loc: ['body', name], ...fault });
    return typeof value === 'string' ? value : '';
  };

  const message: Message = {
    message_id: read('message_id'),
    from: read('from'),
    to: read('to'),
    ts: read('ts'),
    text: (input['text'] ?? null) === null ? null : read('text'),
  };
  return faults.length === 0 ? { valid: true, message } : { valid: false, faults };
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function stringFault(value: unknown, rule: Rule): ReturnType<Rule> {
  if (typeof value !== 'string') return { msg: 'must be a string', type: 'string_type' };
  // SQLite would store a lone surrogate as U+FFFD, and two different ids would become one.
  if (!value.isWellFormed()) return { msg: 'must be well-formed Unicode, without lone surrogates', type: 'string_unicode' };
  return rule(value);
}

/** Whether a text has another in it: ASCII letters in either case, all else exact. */
export function containsText(text: string, part: string): boolean {
  const lower = (mixed: string) => mixed.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
  return lower(text).includes(lower(part));
}
