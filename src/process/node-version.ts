const OLDEST_NODE_MAJOR = 26;

/** Where it is false, it has said so in a line of the log, and the exit status is 1. Imports nothing, so that any Node.js can load it. */
export function isNodeNewEnough(): boolean {
  if (Number.parseInt(process.versions.node, 10) >= OLDEST_NODE_MAJOR) return true;
  const problem = `webhook-inbox needs Node.js ${OLDEST_NODE_MAJOR} or newer; this is ${process.versions.node}`;
  console.log(JSON.stringify({ ts: new Date().toISOString(), level: 'ERROR', event: 'start_refused', problems: [problem] }));
  process.exitCode = 1;
  return false;
}
