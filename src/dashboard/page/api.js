/** What the page asks of the service. Addresses are relative, so that a proxy may serve it below a path. */
import { setClockBy } from './time.js';

/** Survives a reload of this tab, and no more. */
const TOKEN_KEY = 'read-token';

/** Null where there is none. */
export const tokenOfTab = () => sessionStorage.getItem(TOKEN_KEY);
/** @param {string} token */
export const keepToken = (token) => sessionStorage.setItem(TOKEN_KEY, token);
export const forgetToken = () => sessionStorage.removeItem(TOKEN_KEY);

/** An answer other than the one that was asked for. */
export class Refused extends Error {
  name = 'Refused';

  /**
   * @param {number} status
   * @param {string} detail
   */
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/**
 * Fetches a path of the service, with the token of this tab where there is one. Rejects with Refused unless the status is 200, or one
 * of `alsoFine`.
 * @param {string} path
 * @param {{ signal?: AbortSignal, headers?: Record<string, string>, alsoFine?: number }} [options]
 */
export async function request(path, { signal, headers = {}, alsoFine } = {}) {
  const token = tokenOfTab();
  const authorization = token === null ? {} : { Authorization: `Bearer ${token}` };
  const response = await fetch(path, { headers: { ...headers, ...authorization }, ...(signal && { signal }) });
  setClockBy(response.headers.get('Date'));
  if (response.status === 200 || response.status === alsoFine) return response;
  throw new Refused(response.status, await detailOf(response));
}

/**
 * What went wrong, in words for whoever looks at the page.
 * @param {unknown} error Of `request`.
 */
export const reasonOf = (error) => (error instanceof Refused ? asSentence(error.message) : 'The service does not answer.');

/** @param {string} text */
const asSentence = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? '' : '.'}`;

/** @param {Response} response */
async function detailOf(response) {
  try {
    const { detail } = await response.json();
    if (Array.isArray(detail)) return detail.map(({ loc, msg }) => `${loc.at(-1)}: ${msg}`).join('; ');
    return String(detail);
  } catch {
    return `status ${response.status}`;
  }
}
