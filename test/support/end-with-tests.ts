/**
 * Loaded into each process of tests: where it is still alive a while after the last of them, it says what keeps it and ends it, as
 * whatever a test starts has to end with the test.
 */
import { after } from 'node:test';

const GRACE_MS = 60_000;

after(() => {
  setTimeout(() => {
    console.error(`Still open after the last test: ${process.getActiveResourcesInfo().join(', ')}`);
    process.exit(1);
  }, GRACE_MS).unref();
});
