/** Entry point: `node dist/server.js`. Loads the service only where Node.js is new enough to run it. */
import { hearSignals } from './process/signals.ts';

const OLDEST_NODE_MAJOR = 26;

if (Number.parseInt(process.versions.node, 10) >= OLDEST_NODE_MAJOR) {
  // Before the rest is loaded, which takes longer than all that follows until it listens.
  const takeSignals = hearSignals();
  const { main } = await import('./process/main.ts');
  await main(process.argv.slice(2), takeSignals);
} else {
  const problem = `webhook-inbox needs Node.js ${OLDEST_NODE_MAJOR} or newer; this is ${process.versions.node}`;
  console.log(JSON.stringify({ ts: new Date().toISOString(), level: 'ERROR', event: 'start_refused', problems: [problem] }));
  process.exitCode = 1;
}
