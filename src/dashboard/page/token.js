/** The token of readers, where the service wants one: asks for it, and forgets it. */
import { forgetToken, keepToken, tokenOfTab } from './api.js';
import { element } from './dom.js';

const section = element('token-section', HTMLElement);
const input = element('token', HTMLInputElement);
const problem = element('token-problem', HTMLElement);
const forget = element('forget-token', HTMLButtonElement);

/** Asks for a token, in place of one that was not accepted; returns false where it does so already. */
export function askForToken() {
  // Several requests are refused together.
  if (!section.hidden) return false;
  problem.textContent = tokenOfTab() !== null ? 'That token is not accepted.' : '';
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
    keepToken(input.value.trim());
    input.value = '';
    onEntered();
  });
  forget.addEventListener('click', () => {
    forgetToken();
    onForgotten();
  });
}
