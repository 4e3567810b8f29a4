import { jsonReply } from '../http/reply.ts';
import type { Handler } from '../http/router.ts';
import type { Storage } from '../storage/storage.ts';

/** GET /storage: which database keeps the messages, where, and whether it can be asked now; null is what is not known, or not so. */
export function createShowStorage(storage: Pick<Storage, 'engine'>): Handler {
  return () => {
    const { name, version = null, host = null, isConnected } = storage.engine();
    return jsonReply(200, { engine: name, version, host, connected: isConnected });
  };
}
