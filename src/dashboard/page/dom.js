/** The elements of the page, and new ones. Whatever they show is set as text. */

/**
 * The element of index.html with this id. Throws where there is none of that kind.
 * @template {HTMLElement} Kind
 * @param {string} id
 * @param {new () => Kind} kind
 * @returns {Kind}
 */
export function element(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new TypeError(`no ${kind.name} #${id}`);
  return found;
}

/**
 * A new element with a class and a text, or with parts.
 * @param {string} tag
 * @param {string} className
 * @param {...(string | Node)} parts
 */
export function make(tag, className, ...parts) {
  const made = document.createElement(tag);
  if (className !== '') made.className = className;
  made.append(...parts);
  return made;
}

/**
 * Replaces what is in an element. The focus stays with the link that leads to the same address; returns false where that has gone.
 * @param {HTMLElement} container
 * @param {Node[]} parts
 */
export function replaceParts(container, parts) {
  const focused = container.contains(document.activeElement) ? document.activeElement?.getAttribute('href') : undefined;
  container.replaceChildren(...parts);
  if (focused === undefined) return true;
  const same = [...container.querySelectorAll('a')].find((link) => link.getAttribute('href') === focused);
  same?.focus();
  return same !== undefined;
}

/**
 * Sets a text where it is another one: whatever watches it is told of a change alone.
 * @param {HTMLElement} shown
 * @param {string} text
 */
export function setText(shown, text) {
  if (shown.textContent !== text) shown.textContent = text;
}

/**
 * A new element of SVG.
 * @param {string} tag
 * @param {Readonly<Record<string, string | number>>} attributes
 */
export function makeSvg(tag, attributes) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  return made;
}

/**
 * A whole number as people write it.
 * @param {number} value
 */
export const grouped = (value) => value.toLocaleString('en');
