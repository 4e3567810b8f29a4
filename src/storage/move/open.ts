/** Both sides of a move, by what they are. */
import type { DatabaseCredentials } from '../../config/database-credentials.ts';
import type { DatabaseSettings } from '../../config/database-url.ts';
import { openPostgresSource, openPostgresTarget } from '../postgres/moving.ts';
import { targetsOf } from '../postgres/targets.ts';
import { openSqliteSource } from '../sqlite/moving/source.ts';
import { openSqliteTarget } from '../sqlite/moving/target.ts';
import type { Side, TargetSide } from './sides.ts';

/** Where messages are, or are to be. */
export type Place =
  | Extract<DatabaseSettings, { kind: 'sqlite' }>
  | (Extract<DatabaseSettings, { kind: 'postgres' }> & { readonly credentials: DatabaseCredentials });

/** Rejects with StartRefused where an operator has to mend something first. */
export async function openSource(place: Place): Promise<Side> {
  return place.kind === 'sqlite' ? await openSqliteSource(place.path) : await openPostgresSource(targetsOf(place, place.credentials));
}

/** Rejects with StartRefused where an operator has to mend something first. */
export async function openTarget(place: Place): Promise<TargetSide> {
  return place.kind === 'sqlite' ? await openSqliteTarget(place.path) : await openPostgresTarget(targetsOf(place, place.credentials));
}
