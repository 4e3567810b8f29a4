/**
 * Entry point: `node dist/move.js SOURCE TARGET`. Moves all messages from the file of an embedded database to a PostgreSQL, or from there
 * to a file.
 */
import { isNodeNewEnough } from './process/node-version.ts';

if (isNodeNewEnough()) {
  const { main } = await import('./process/move.ts');
  await main(process.argv.slice(2));
}
