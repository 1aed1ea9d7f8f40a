// One change of one weight: towards what is wanted, within bounds, by one step at most, and not at all for a trifle.
// Weights are integers, and small ones must be able to move too: a step is always at least 1.

export interface Bounds {
  readonly least: number;
  readonly most: number;
}

/** Weights a member may have while it takes new flows. Both at least 1: none is for those who are refused. */
export function boundsOf(base: number, { least, most }: { readonly least: number; readonly most: number }): Bounds {
  const low = Math.max(1, Math.ceil(least * base));
  return { least: low, most: Math.min(65_535, Math.max(low, Math.floor(most * base))) };
}

/** How a weight may move. */
export interface Manner extends Bounds {
  /** The largest factor of one change. */
  readonly step: number;
  /** Share of the weight below which a change is not made. */
  readonly deadband: number;
}

/**
 * The next weight on the way from `weight` to `wanted`, which is above 0. A weight outside the bounds comes back in any
 * case, and one of 0 starts at the least.
 */
export function move(weight: number, wanted: number, { least, most, step, deadband }: Manner): number {
  if (weight === 0) return least;
  const goal = Math.min(most, Math.max(least, Math.round(wanted)));
  if (Math.abs(goal - weight) < deadband * weight && weight >= least && weight <= most) return weight;
  if (goal > weight) return Math.min(goal, Math.max(weight + 1, Math.floor(weight * step)));
  return Math.max(goal, Math.min(weight - 1, Math.ceil(weight / step)));
}
