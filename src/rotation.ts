/** Credentials that are replaced while both the old and the new one are in use. */

export const ROTATION_KEYS = ['current', 'previous'] as const;
export type RotationKey = (typeof ROTATION_KEYS)[number];

/** A credential, and the one that it replaces, which is accepted until all have moved over; null where there is none. */
export interface Rotation<Credential> extends Record<RotationKey, Credential | null> {
  readonly current: Credential;
  readonly previous: Credential | null;
}

/** Which of the two matches, the current one where both do; null where neither does. */
export function matchingKey<Credential>(
  { current, previous }: Rotation<Credential>, matches: (credential: Credential) => boolean,
): RotationKey | null {
  if (matches(current)) return 'current';
  return previous !== null && matches(previous) ? 'previous' : null;
}
