/**
 * What is shown, kept in the fragment of the address, so that it survives a reload, can be gone back to, and can be shared. A fragment is
 * sent to nobody. (What it asks the service for has the number and the text, which the service logs nothing of.)
 */

/**
 * @typedef {object} Place
 * @property {'messages' | 'refused'} view
 * @property {string} q
 * @property {string} from
 * @property {string} since As an input of kind datetime-local has it, or empty.
 * @property {string} message The id of the message that is shown in detail, or empty.
 */

/**
 * The place that a fragment names; that of the page by default.
 * @param {string} fragment
 * @returns {Place}
 */
export function readPlace(fragment = location.hash) {
  const asked = new URLSearchParams(fragment.slice(1));
  const valueOf = (/** @type {string} */ name) => asked.get(name) ?? '';
  return {
    view: asked.get('view') === 'refused' ? 'refused' : 'messages',
    q: valueOf('q'),
    // Whoever writes an address by hand leaves the + as it is, which means a space there.
    from: valueOf('from').replace(/^ (?=[1-9])/, '+'),
    since: valueOf('since'),
    message: valueOf('message'),
  };
}

/**
 * The address of a place, for a link.
 * @param {Partial<Place>} place
 */
export function addressOf(place) {
  const isDefault = (/** @type {string} */ name, /** @type {string} */ value) => value === '' || (name === 'view' && value === 'messages');
  const asked = new URLSearchParams(Object.entries(place).filter(([name, value]) => !isDefault(name, value)));
  return `${location.pathname}${location.search}${asked.size === 0 ? '' : `#${asked}`}`;
}

/**
 * Goes to a place; returns false where that is the one already. From there one step back is where it was left, unless it takes its place.
 * @param {Place} place
 * @param {{ instead?: boolean, by?: 'typing' | 'opening' }} [how] `by`: what `cameBy` then tells.
 */
export function go(place, { instead = false, by } = {}) {
  const address = addressOf(place);
  const wasAt = `${location.pathname}${location.search}${location.hash}`;
  if (address === wasAt) return false;
  if (instead) history.replaceState({ by }, '', address);
  else history.pushState({ by }, '', address);
  dispatchEvent(new Event('popstate'));
  return true;
}

/** How the place that is shown was come to; undefined where it was by its address. @returns {'typing' | 'opening' | undefined} */
export const cameBy = () => history.state?.by;
