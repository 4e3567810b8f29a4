/** Entry point: `node dist/server.js`. Loads the service only where Node.js is new enough to run it. */
import { isNodeNewEnough } from './process/node-version.ts';
import { hearSignals } from './process/signals.ts';

if (isNodeNewEnough()) {
  // Before the rest is loaded, which takes longer than all that follows until it listens.
  const takeSignals = hearSignals();
  const { main } = await import('./process/main.ts');
  await main(process.argv.slice(2), takeSignals);
}
