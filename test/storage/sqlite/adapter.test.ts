import { join } from 'node:path';
import { openTestStorage } from '../../support/storage.ts';
import { temporaryFolder } from '../../support/temporary.ts';
import { testStorageContract } from '../contract.ts';

testStorageContract('the SQLite adapter', async (t) => {
  const path = join(temporaryFolder(t), 'app.db');
  const storage = await openTestStorage(t, path);
  return {
    storage,
    async reopen() {
      await storage.close();
      return openTestStorage(t, path);
    },
  };
});
