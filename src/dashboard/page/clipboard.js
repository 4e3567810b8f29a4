/**
 * Copies a text, or selects it where that is not allowed, and says which.
 * @param {string} text
 * @param {Node} shown Where the text stands.
 * @param {HTMLElement} told
 */
export async function copy(text, shown, told) {
  try {
    await navigator.clipboard.writeText(text);
    told.textContent = 'Copied';
  } catch {
    // Only a page over TLS or on loopback may write to the clipboard.
    getSelection()?.selectAllChildren(shown);
    told.textContent = 'Selected: copy it with the keyboard';
  }
}
