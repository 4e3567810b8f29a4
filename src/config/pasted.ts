/** Tells what came along when a secret was copied: what nobody can mean by one, and what only its sender can tell. */

/** What is said of a credential, after its name, in words for an operator. Never has any of its value. */
export interface PasteFindings {
  /** Why it cannot be meant; null where it can. */
  readonly refusal: string | null;
  /** What may be meant and mostly is not, and what to do then. */
  readonly doubts: readonly string[];
}

type Finding = readonly [pattern: RegExp, words: string];

const OWN_NAME = '(?:WEBHOOK_SECRET|READ_TOKEN|METRICS_TOKEN|ERASE_TOKEN|DATABASE_PASSWORD)(?:_PREVIOUS)?(?:_FILE)?';

/** No sender signs with these, and no reader shows them. */
const CANNOT_BE_MEANT: readonly Finding[] = [
  // Node.js puts it into a variable where bytes were not UTF-8, and so do editors: nothing that others derive from it would ever match.
  [/\ufffd/, 'must be UTF-8'],
  [/^\s*$/, 'is white space alone: give it a value'],
  [/(?![\t\n\r])\p{Cc}/u, 'has a control character, as a file of UTF-16 or of binary data has: give it as UTF-8 text'],
  [/\p{Cf}/u, 'has an invisible character, such as a byte order mark or a zero-width space: remove it'],
  [new RegExp(`^\\s*(?:export\\s+)?${OWN_NAME}\\s*[=:]`, 'i'), 'begins with the name of a variable: give what stands after that'],
  [/-----BEGIN /, 'is a PEM block, of a key pair or a certificate: give the shared secret'],
  [/^\*+$|[\u2022\u25cf]{2}/, 'is hidden behind asterisks or dots: have it shown before it is copied'],
];

const PLACEHOLDER = new RegExp(`^(?:${[
  '<.+>', String.raw`\[.+\]`, String.raw`(?:change|replace)[-_ ]?(?:me|this|it)[-_ !\w]*`,
  'secret|token|key|password|placeholder|example|test|default|todo|none|null|undefined',
  String.raw`(?:your|my|some|super|test|dummy|example|sample)[-_ ]?(?:\w{1,12}[-_ ])?(?:secret|token|key|password)` +
    String.raw`(?:[-_ ]?(?:here|key|token|value|\d{1,4}))?`,
].join('|')})$`, 'i');

/** What stands alone, white space around it aside. A sender may have been given just these bytes, and then they are right. */
const DOUBTFUL: readonly Finding[] = [
  [/[\n\r]/, 'has several lines: give one'],
  [/^(?:(["'`]).*\1|[\u201c-\u201f].*[\u201c-\u201f]|[\u2018-\u201b].*[\u2018-\u201b]|\u00ab.*\u00bb)$/s, 'is in quotes: remove them'],
  [/\\[nrt]$/, 'ends with a backslash and a letter: remove both'],
  [/^(?:Bearer|Basic)\s/i, 'begins with the name of an authentication scheme: remove it'],
  [/^sha(?:1|256|512)=/i, 'begins as a signature does: give the secret itself'],
  [/^(?:export\s+)?[\w-]{0,40}(?:secret|token|key|signature|authorization)[\w-]{0,40}\s?[=:]\s?[^\s=]/i,
    'begins with a name: give what stands after that'],
  [/^\{\s*".*\}$/s, 'is a JSON object: give the secret in it'],
  [/^(?:\$\{.*\}|\$\(.*\)|\$[A-Z_]+|\{\{.*\}\}|%\w+%)$/s, 'is a reference that nothing has replaced: give what it stands for'],
  [/^(?:file:|~?\/(?:run|etc|var|home|opt|mnt|srv|tmp|secrets|credentials)\/|\.{1,2}\/)/,
    'is a path: give that in the variable whose name ends with _FILE'],
  [/(?:\u2026|\.\.\.)$/, 'ends with an ellipsis: copy all of it'],
  [/^(?:[0-9a-f]{2}){15,}[0-9a-f]$/i, 'has an odd number of hexadecimal digits: see that none is missing'],
  [PLACEHOLDER, 'is a placeholder, which anybody can guess: set one of your own'],
];

const WHITE_SPACE_AROUND = 'begins or ends with white space: remove it';
const OTHER_SPACE = 'has a space that is not the ASCII one: replace it';

/** What a secret or a token looks like that was copied with more, with less, or in place of another. Throws nothing. */
export function findingsOf(text: string): PasteFindings {
  const trimmed = text.trim();
  return {
    refusal: CANNOT_BE_MEANT.find(([pattern]) => pattern.test(text))?.[1] ?? null,
    doubts: [
      ...(text === trimmed ? [] : [WHITE_SPACE_AROUND]),
      ...(/[^\S \t\n\r]/.test(text) ? [OTHER_SPACE] : []),
      ...DOUBTFUL.filter(([pattern]) => pattern.test(trimmed)).map(([, words]) => words),
    ],
  };
}
