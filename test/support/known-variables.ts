import { readConfig } from '../../src/config/config.ts';
import { readEnvironment } from '../../src/config/environment.ts';

/** The names of the environment variables that the service asks for. */
export function knownVariables(): ReadonlySet<string> {
  const asked = new Set<string>();
  const recording = new Proxy<NodeJS.ProcessEnv>({}, {
    get(_variables, name) {
      asked.add(String(name));
      return undefined;
    },
  });
  readEnvironment(recording, readConfig);
  return asked;
}
