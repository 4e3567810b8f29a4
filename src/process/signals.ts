const HEARD = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;

/** Takes what was heard so far, in order, and from now on each signal as it comes. */
export type TakeSignals = (take: (signal: NodeJS.Signals) => void) => void;

/**
 * Hears signals from now on, and keeps them until somebody takes them. Without a handler a process ends at once, by a signal instead
 * of a status, and the first process of a container does not hear it at all (pid_namespaces(7)).
 */
export function hearSignals(): TakeSignals {
  const kept: NodeJS.Signals[] = [];
  let hear = (signal: NodeJS.Signals): void => { kept.push(signal); };
  for (const name of HEARD) process.on(name, (signal) => hear(signal));
  return (take) => {
    hear = take;
    for (const signal of kept.splice(0)) take(signal);
  };
}
