/** The fields above the list: what is asked for, and whether there can be any of it. */
import { element, setText } from './dom.js';
import { canBeSender, withoutBlanks } from './sender.js';

const TYPING_PAUSE_MS = 200;

const form = element('filters', HTMLFormElement);
const q = element('q', HTMLInputElement);
const from = element('from', HTMLInputElement);
const since = element('since', HTMLInputElement);
const problem = element('from-problem', HTMLElement);

/** @typedef {Pick<import('./address.js').Place, 'q' | 'from' | 'since'>} Asked */

/** What the fields ask for. @returns {Asked} */
export const readFilters = () => ({ q: q.value, from: withoutBlanks(from.value), since: since.value });

export const isFiltered = () => Object.values(readFilters()).some((value) => value !== '');

/** Sets the fields, but for what they say already: somebody may be typing. @param {Asked} asked */
export function writeFilters(asked) {
  const said = readFilters();
  if (said.q !== asked.q) q.value = asked.q;
  if (said.from !== asked.from) from.value = asked.from;
  if (said.since !== asked.since) since.value = asked.since;
}

/**
 * Whether there can be such messages; says at the field where not.
 * @param {boolean} isTyped Not so a sender of a link, who has sent something.
 */
export function checkFilters(isTyped) {
  const asked = readFilters().from;
  const isFine = asked === '' || !isTyped || canBeSender(asked);
  from.setAttribute('aria-invalid', String(!isFine));
  setText(problem, isFine ? '' : 'No valid sender: a sender is + and 2 to 15 digits, of which the first is not 0.');
  return isFine;
}

/** @param {(by?: 'typing') => void} onChange */
export function watchFilters(onChange) {
  /** @type {number | undefined} */
  let typing;
  const changed = (/** @type {'typing' | undefined} */ by) => {
    clearTimeout(typing);
    onChange(by);
  };
  form.addEventListener('input', () => {
    clearTimeout(typing);
    typing = setTimeout(() => changed('typing'), TYPING_PAUSE_MS);
  });
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    changed('typing');
  });
  // The fields are emptied only after the event.
  form.addEventListener('reset', () => setTimeout(() => changed(undefined)));
}
