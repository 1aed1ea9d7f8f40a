// Where this server stands in its group, as the views say: joining, active, draining, or gone; and when a step is over, in the
// sense that no tier 1 can have anything more for it.

import { limits } from '../../../shared/base/limits.ts';
import type { Candidate } from '../../../shared/membership/transitions.ts';
import { findMember, type View } from '../../../shared/membership/view.ts';
import { heardLatelyMs, type Streams } from './streams.ts';

/** `outside`: no member yet. `left`: was one, and is no longer. */
export type MemberPhase = 'outside' | 'joining' | 'active' | 'draining' | 'left';

/** Time that every tier 1 that speaks at all needs to be heard. */
const heardByThenMs = 2 * limits.idleFrameMs;
/** A server that has left goes on deciding at most so long; whoever still stamps an older view then is cut off. */
const releaseMs = 3_000;

export class Standing {
  phase: MemberPhase = 'outside';
  readonly #candidate: Candidate;
  /** Numbers of the views in which it began to drain and in which it was gone, and when they were heard of. */
  #drainingIn = Number.POSITIVE_INFINITY;
  #drainingAtMs = 0;
  #leftIn = Number.POSITIVE_INFINITY;
  #leftAtMs = 0;

  constructor(candidate: Candidate) {
    this.#candidate = candidate;
  }

  /** A member that decides for itself: what it does not know of a tier 1 that it hears, it has missed. */
  get isEstablished(): boolean {
    return this.phase === 'active' || this.phase === 'draining';
  }

  /** A view has come, in any order; `newest` is the newest there is now. True when it makes this module established. */
  onView(view: View, newest: View | undefined, nowMs: number): boolean {
    const was = this.isEstablished;
    if (view === newest) this.#follow(view, nowMs);
    return !was && this.isEstablished;
  }

  #follow(view: View, nowMs: number): void {
    const member = findMember(view, this.#candidate.server);
    if (member?.incarnation === this.#candidate.incarnation) {
      this.phase = member.state;
      if (member.state !== 'draining' || this.#drainingIn !== Number.POSITIVE_INFINITY) return;
      this.#drainingIn = view.number;
      this.#drainingAtMs = nowMs;
    } else if (this.phase !== 'outside' && this.phase !== 'left') {
      // One that only joined was never given anything.
      this.#leftAtMs = this.phase === 'joining' ? Number.NEGATIVE_INFINITY : nowMs;
      this.#leftIn = view.number;
      this.phase = 'left';
    }
  }

  /** Draining, and every tier 1 knows: none can place a flow here any more. One that lags behind may yet. */
  getsNothingNew(streams: Streams, nowMs: number): boolean {
    if (this.phase !== 'draining' || nowMs - this.#drainingAtMs < heardByThenMs) return false;
    return haveMovedOn(streams, this.#drainingIn, nowMs);
  }

  /** Gone, and every tier 1 knows: no frame comes in which this server is still a member. */
  isReleased(streams: Streams, nowMs: number): boolean {
    if (this.phase !== 'left' || nowMs - this.#leftAtMs < heardByThenMs) return false;
    return nowMs - this.#leftAtMs > releaseMs || haveMovedOn(streams, this.#leftIn, nowMs);
  }
}

/** Every tier 1 that is heard stamps this view, or a later one. */
function haveMovedOn(streams: Streams, viewNumber: number, nowMs: number): boolean {
  for (const stream of streams.all()) {
    if (nowMs - stream.heardAtMs < heardLatelyMs && stream.viewNumber < viewNumber) return false;
  }
  return true;
}
