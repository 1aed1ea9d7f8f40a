// Time as the tables of an actor keep it: packet time in ticks of 100 ms, in 32 bits.
//
// The bits wrap after 13.6 years of 100 ms, so two ticks are only ever compared by their signed difference. Packet time
// is not monotonic: frames of several tier 1s interleave, and a clock may be set back. A packet slightly older than the
// entry it meets is simply late; one that is older by more than `limits.clockJumpMs` means that the clock was set back,
// and whatever was learned by the old clock has no age any more.

import { limits } from '../../../shared/base/limits.ts';

export const msPerTick = 100;

/** A clock set back by more than this makes earlier entries meaningless, in ticks. */
export const clockJumpTicks: number = limits.clockJumpMs / msPerTick;

/** Packet time in milliseconds (any epoch) to a tick: an int32 that wraps. */
export function tickOfMs(timestampMs: number): number {
  return Math.floor(timestampMs / msPerTick) | 0;
}

/** Ticks from `then` to `tick`: int32, negative when `then` lies in the future. */
export function ageTicks(tick: number, then: number): number {
  return (tick - then) | 0;
}

/** Whether something last seen at `then` has outlived `limit` ticks, or was learned by a clock that was set back. */
export function isOver(tick: number, then: number, limit: number): boolean {
  const age = (tick - then) | 0;
  return age > limit || age < -clockJumpTicks;
}
