// Time as the tables of a replica keep it: the line's own time in ticks of 100 ms, in 32 bits.
//
// The line's time never goes back (lineTime.ts), so an entry is never younger than now. The bits wrap after 13.6 years; two
// ticks are compared by their signed difference, and what is over is swept long before that difference could turn.

export const msPerTick = 100;

/** The line's time in milliseconds as a tick: an int32 that wraps. */
export function tickOfMs(timeMs: number): number {
  return Math.floor(timeMs / msPerTick) | 0;
}

/** Whether something last seen at `then` has outlived `limit` ticks. */
export function isOver(tick: number, then: number, limit: number): boolean {
  return ((tick - then) | 0) > limit;
}
