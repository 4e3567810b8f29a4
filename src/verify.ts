/**
 * Entry point: `node dist/verify.js [FILE]`. Looks whether a database, that of DATABASE_URL where no other is named, is what it should be.
 */
import { isNodeNewEnough } from './process/node-version.ts';

if (isNodeNewEnough()) {
  const { main } = await import('./process/verify.ts');
  await main(process.argv.slice(2));
}
