import { type Credentials, readCredentials } from './credentials.ts';
import type { Environment } from './environment.ts';
import { readSettings, type Settings } from './settings.ts';

/** What the service is told from outside: settings for its whole life, and credentials that a reload may replace. */
export interface Config extends Settings {
  readonly credentials: Credentials;
}

/** Reads all of it. Where the environment has problems then, what is returned must not be used. */
export function readConfig(environment: Environment): Config {
  const settings = readSettings(environment);
  return { ...settings, credentials: readCredentials(environment, settings) };
}
