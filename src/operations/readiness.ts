import { StorageUnavailable } from '../errors.ts';
import type { Log } from '../observe/log.ts';
import type { Storage } from '../storage/storage.ts';

/** Whether the service can take messages now, found out in the background so that asking costs nothing. */
export interface Readiness {
  /** Why it can't; empty where it can. */
  reasons(): readonly string[];
  /** Makes one check. */
  check(): Promise<void>;
  /** Makes one check a second from now on, and logs each change; readiness itself is what is expected. */
  watch(): void;
  /** From now on the process is not ready, as it is about to stop. */
  drain(): void;
  isDraining(): boolean;
  /** Ends the checks. */
  stop(): void;
}

const CHECK_INTERVAL_MS = 1000;
/** A check that has no answer after this long is one failed. */
const CHECK_PATIENCE_MS = 2000;

export function createReadiness(hasSecret: boolean, storage: Pick<Storage, 'probe'>, log: Log): Readiness {
  let storageReason: string | undefined = 'the storage was not checked yet';
  let checkBegan: number | undefined;
  let timer: NodeJS.Timeout | undefined;
  let draining = false;
  let logged: string | undefined;

  const reasons = () => [
    ...(hasSecret ? [] : ['no secret is set']),
    ...(storageReason === undefined ? [] : [storageReason]),
    ...(draining ? ['shutting down'] : []),
  ];

  async function check(): Promise<void> {
    if (checkBegan !== undefined) {
      if (performance.now() - checkBegan > CHECK_PATIENCE_MS) storageReason = 'the storage does not answer';
      return logChange();
    }
    checkBegan = performance.now();
    try {
      await storage.probe();
      storageReason = undefined;
    } catch (error) {
      storageReason = error instanceof StorageUnavailable ? error.reason : 'the database failed';
    }
    checkBegan = undefined;
    logChange();
  }

  function logChange(): void {
    const now = reasons().join('; ');
    if (logged === undefined || now === logged || draining) return;
    logged = now;
    if (now === '') log('INFO', 'ready');
    else log('WARNING', 'not_ready', { reasons: reasons() });
  }

  return {
    reasons,
    check,
    watch() {
      logged = '';
      logChange();
      timer = setInterval(() => void check(), CHECK_INTERVAL_MS);
    },
    drain() { draining = true; },
    isDraining: () => draining,
    stop() { clearInterval(timer); },
  };
}
