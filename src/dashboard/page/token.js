/** The token of readers, where the service wants one: asks for it, and forgets it. */
import { forgetToken, keepToken, tokenOfTab } from './api.js';
import { element } from './dom.js';

const section = element('token-section', HTMLElement);
const input = element('token', HTMLInputElement);
const problem = element('token-problem', HTMLElement);
const forget = element('forget-token', HTMLButtonElement);

const NOT_ACCEPTED = 'That token is not accepted.';
/** What the service takes for one has no other characters, and a browser would send no header with some of them, as with “quotes”. */
const SENDABLE = /^[\x21-\x7e]+$/;

/** Asks for a token, in place of one that was not accepted; returns false where it does so already. */
export function askForToken() {
  // Several requests are refused together.
  if (!section.hidden) return false;
  problem.textContent = tokenOfTab() !== null ? NOT_ACCEPTED : '';
  forgetToken();
  forget.hidden = true;
  section.hidden = false;
  input.focus();
  return true;
}

/** Asks no longer. */
export function useToken() {
  section.hidden = true;
  forget.hidden = tokenOfTab() === null;
}

/**
 * @param {() => void} onEntered
 * @param {() => void} onForgotten
 */
export function watchToken(onEntered, onForgotten) {
  element('token-form', HTMLFormElement).addEventListener('submit', (event) => {
    event.preventDefault();
    const token = input.value.trim();
    input.value = '';
    if (SENDABLE.test(token)) {
      keepToken(token);
      onEntered();
    } else {
      problem.textContent = NOT_ACCEPTED;
    }
  });
  forget.addEventListener('click', () => {
    forgetToken();
    onForgotten();
  });
}
