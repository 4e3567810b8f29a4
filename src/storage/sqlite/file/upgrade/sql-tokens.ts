/** A quoted name or a string, a comment, a word, or any other sign (https://sqlite.org/lang_keywords.html, lang_comment.html). */
const TOKEN = /'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|--[^\n]*|\/\*[^]*?(?:\*\/|$)|[\w$\u0080-\uffff]+|\S/g;

/**
 * The tokens of an SQL text, in lower case and without comments; what is quoted, in whichever way, stands in double quotes, so that a
 * name is never taken for a keyword.
 */
export function tokensOf(sql: string): string[] {
  return (sql.match(TOKEN) ?? []).filter((token) => !token.startsWith('--') && !token.startsWith('/*'))
    .map((token) => (/^['"`[]/.test(token) ? `"${token.slice(1, -1)}"` : token).toLowerCase());
}

/** A name as SQL. */
export const quoteName = (name: string) => `"${name.replaceAll('"', '""')}"`;
