import type { Credentials } from '../config/credentials.ts';
import type { Reading } from '../config/environment.ts';
import { credentialWarnings } from '../config/warnings.ts';
import type { Log } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';

export interface ReloadOptions {
  readonly log: Log;
  readonly metrics: Pick<Metrics, 'credentialsReloaded'>;
  /** Puts new credentials in the place of the old ones. */
  readonly take: (credentials: Credentials) => void;
}

/**
 * Takes what was read anew, all of it or nothing: a new key beside an old "previous" one that could not be read would refuse
 * whoever still signs with the key between them. The log and a metric have the outcome.
 */
export function createReload({ log, metrics, take }: ReloadOptions): (reading: Reading<Credentials>) => void {
  return (reading) => {
    if (!reading.valid) {
      metrics.credentialsReloaded('failed');
      return log('ERROR', 'reload_failed', { kept: 'all credentials of before', problems: reading.problems });
    }
    take(reading.value);
    metrics.credentialsReloaded('ok');
    log('INFO', 'credentials_reloaded', { set: reading.value.set });
    for (const warning of credentialWarnings(reading.value, Date.now())) log('WARNING', 'config_warning', { warning });
  };
}
