import type { Log } from './log.ts';

/** What is done in the background, and tried again by itself where it fails. */
export const BACKGROUND_STEPS = ['checkpoint', 'index', 'reader', 'retention', 'removal'] as const;
export type BackgroundStep = (typeof BACKGROUND_STEPS)[number];

/** Which steps fail now. */
export interface Background {
  /** Why a step fails; null: it does not, or no longer. May be told again and again: the log has where it begins and where it ends. */
  failing(step: BackgroundStep, reason: string | null): void;
  isFailing(step: BackgroundStep): boolean;
  /** Each step that fails, with the reason that it began with. */
  failures(): readonly string[];
}

export function createBackground(log: Log): Background {
  const failures = new Map<BackgroundStep, string>();
  return {
    failing(step, reason) {
      if (reason === null) {
        if (failures.delete(step)) log('INFO', `${step}_recovered`);
      } else if (!failures.has(step)) {
        failures.set(step, reason);
        log('ERROR', `${step}_failed`, { reason });
      }
    },
    isFailing: (step) => failures.has(step),
    failures: () => [...failures].map(([step, reason]) => `${step}: ${reason}`),
  };
}
