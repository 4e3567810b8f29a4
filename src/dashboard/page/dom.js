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
