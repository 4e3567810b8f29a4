import { readConfig, type Config } from '../../src/config/config.ts';
import { readEnvironment } from '../../src/config/environment.ts';

/** The configuration of an environment without problems; throws them where there are some. */
export function configOf(environment: Record<string, string>): Config {
  const reading = readEnvironment(environment, readConfig);
  if (!reading.valid) throw new Error(reading.problems.join('; '));
  return reading.value;
}

export function problemsOf(environment: Record<string, string>): readonly string[] {
  const reading = readEnvironment(environment, readConfig);
  return reading.valid ? [] : reading.problems;
}
