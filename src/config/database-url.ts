export const DATABASE_URL_RULE =
  "the path of a database file, alone or after 'file:' or 'sqlite:///', without parameters and not in memory";

/**
 * The path in a DATABASE_URL, or undefined where it is none. `sqlite:///x` is relative and `sqlite:////x` absolute, as
 * SQLAlchemy has it; `file:` follows https://sqlite.org/uri.html. Parameters are refused, because some
 * (`vfs=unix-none`, `mode=memory`, `nolock`) turn durability off without a word.
 */
export function parseDatabaseUrl(url: string): string | undefined {
  const path = databasePathIn(url);
  const usable = path !== undefined && path !== '' && !/:memory:|^file:/i.test(path) && !/[?#\0]/.test(path) && !path.endsWith('/');
  return usable ? path : undefined;
}

function databasePathIn(url: string): string | undefined {
  if (url.startsWith('sqlite:///')) return url.slice('sqlite:///'.length);
  if (url.startsWith('file:')) return filePathIn(url.slice('file:'.length));
  return /^[a-z][a-z0-9+.-]*:/i.test(url) ? undefined : url;
}

function filePathIn(rest: string): string | undefined {
  const path = rest.replace(/^\/\/(?:localhost)?(?=\/)/, '');
  if (path.startsWith('//')) return undefined;
  // Decoded only after the check for '?', so that an escaped one cannot smuggle a parameter in.
  if (path.includes('?') || path.includes('#')) return undefined;
  try {
    return decodeURIComponent(path);
  } catch {
    return undefined;
  }
}
