/** Line ends to some readers (Node's readline, Python's splitlines), though not to JSON, which escapes only those that are controls. */
const OTHER_LINE_ENDS = /[\u0085\u2028\u2029]/g;

/** A JSON text of the same value that is one line to every reader; these characters stand only in its strings and names. */
export function escapeLineEnds(json: string): string {
  return json.replace(OTHER_LINE_ENDS, (end) => `\\u${end.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
