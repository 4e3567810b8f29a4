/** What is compared: the service as it is, and the same with another text index, or none, in the place of its own. */

export interface Variant {
  readonly name: string;
  /** Of the process of the service. */
  readonly nodeOptions: readonly string[];
}

const replacedBy = (module: string) => ['--import', `${new URL('./replace.ts', import.meta.url).href}?${module}`];

const fts5 = (detail: 'none' | 'full', bits: number): Variant =>
  ({ name: `fts5-${detail}-${2 ** bits}`, nodeOptions: replacedBy(`fts5.ts?detail=${detail}&bits=${bits}`) });

/** The first two are always measured: the others are compared with them. */
export const NONE: Variant = { name: 'none', nodeOptions: replacedBy('none.ts') };
export const OURS: Variant = { name: 'ours', nodeOptions: [] };

export const VARIANTS: readonly Variant[] = [
  NONE, OURS,
  fts5('none', 12), fts5('none', 14), fts5('none', 16),
  fts5('full', 12), fts5('full', 14), fts5('full', 16),
];
