/**
 * Entry point: `node dist/backup.js TARGET [--keep-days N]`. Copies the database of DATABASE_URL, beside the
 * running service or without one.
 */
import { isNodeNewEnough } from './process/node-version.ts';

if (isNodeNewEnough()) {
  const { main } = await import('./process/backup.ts');
  await main(process.argv.slice(2));
}
