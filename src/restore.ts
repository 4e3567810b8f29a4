/** Entry point: `node dist/restore.js SOURCE`. Puts a backup in the place of the database of DATABASE_URL. */
import { isNodeNewEnough } from './process/node-version.ts';

if (isNodeNewEnough()) {
  const { main } = await import('./process/restore.ts');
  await main(process.argv.slice(2));
}
