// What this module has missed, and whether it may decide all the same.
//
// A module that missed frames of a tier 1 is *unsure*: it does not know what began in them, what had packets, or which
// start ended a flow that it holds. It asks its peers (sync.ts), and until they have told, frames of that tier 1 wait.
// Only by Fig. 7, and as long as the view is the one of that time, they need not: it would place a flow that began in the
// hole where the others did. When the view has changed since, or a start goes by its number, it could take a flow that
// another member holds; and by Fig. 6 a start may have ended what it holds.
//
// A frame waits for what was missed before it, not for what was missed since. So the member that has come least far with a
// tier 1 never waits for another: if each waited until all its holes were filled, two that both missed frames would wait
// for one another, since neither can tell of frames that wait with it.
//
// The next packet of a flow may come through another tier 1: the router has moved it, or it is the next connection on that
// tuple. So when the view has changed since, frames of the other tier 1s wait as well. And when the one whose frames were
// missed has gone, its flows come through others in any case. Its very last frames can be missed too, and no later one
// shows it. So when a tier 1 falls silent the peers are asked as well; but nothing waits for their answer, since nearly
// always nothing was missed.
//
// A member that went, or was given up, leaves what it knew untold, and it may have decided itself what has come so far: it was
// not dead, or not yet. Of those frames this module takes what it knows to be its own. What is new to it is placed as usual, but
// its own only by views without that member, which decides frames of older ones itself as long as it lives.

import { limits } from '../../../shared/base/limits.ts';
import { isLifeOf } from '../../../shared/membership/transitions.ts';
import type { Member } from '../../../shared/membership/view.ts';
import { type Decider, told } from '../replica/decide.ts';
import { tickOfMs } from '../replica/ticks.ts';
import type { CompiledView, ViewHistory } from '../replica/viewHistory.ts';
import type { Learner } from './learner.ts';
import type { Hole, Streams, Tier1Stream } from './streams.ts';

/** A tier 1 that is silent for longer has gone, or is about to be given up by whoever sends through it. */
const silentMs = 2 * limits.idleFrameMs;

export class Missed {
  /** Times that this module asked its peers because of what it had missed. */
  resyncs = 0;
  /** Since when it asks; -1 while it does not. */
  sinceMs = -1;
  readonly #streams: Streams;
  readonly #learner: Learner;
  readonly #decider: Decider;
  readonly #views: ViewHistory;
  /** Frames that came up to this one may hold packets of a member that has gone and had not told. */
  #untoldTo = -1;
  /** The view without that member; 0 while it is only given up. */
  #untoldIn = 0;

  constructor(streams: Streams, learner: Learner, decider: Decider, views: ViewHistory) {
    this.#views = views;
    this.#streams = streams;
    this.#learner = learner;
    this.#decider = decider;
  }

  get isAny(): boolean {
    return this.sinceMs !== -1;
  }

  /** Whether a frame of this view and tier 1 can be decided, as far as frames are concerned that were missed before it. */
  isSure(view: CompiledView, stream: Tier1Stream, order: number): boolean {
    if (!this.isAny) return true;
    for (const each of this.#streams.all()) {
      const [first] = each.holes;
      if (first === undefined || first.order > order) continue;
      if (view.view.number > first.sinceView || view.placesByOrdinal) return false;
      if (view.ownFlowsOnly && (each === stream || each.isSilent)) return false;
    }
    return true;
  }

  /**
   * The view without members that may have taken what is new to this module in the frame that came as this one; 0 for one
   * that is still to come; `told` where nobody may have.
   */
  untoldIn(order: number): number {
    return order > this.#untoldTo ? told : this.#untoldIn;
  }

  /**
   * Frames of this tier 1 up to this one were missed after the last one decided: the peers are to tell what was in them.
   * Frames that came from `order` on came after them.
   */
  note(stream: Tier1Stream, missedTo: number, order: number, nowMs: number): void {
    this.#mark(stream, missedTo, order);
    // An answer says how far it goes. So what is under way already counts, unless it does not go back to this; if each
    // frame that is given up made all of it void, a member that gives up many would never be told anything.
    if (this.isAny && this.#learner.reachesBackTo(sinceOf(stream))) return;
    this.#ask(stream, nowMs);
  }

  /** Frames of any tier 1 may have been missed, and it may be that no later one shows it. */
  noteAll(nowMs: number): void {
    for (const stream of this.#streams.all()) {
      this.#mark(stream, stream.missedTo, this.#streams.order + 1);
      this.#ask(stream, nowMs);
    }
  }

  #mark(stream: Tier1Stream, missedTo: number, order: number): void {
    stream.addHole(missedTo, order);
    stream.missedAfterQuestion = this.#learner.questions;
  }

  #ask(stream: Tier1Stream, nowMs: number): void {
    const isFirst = !this.isAny;
    this.#learner.again(sinceOf(stream), isFirst);
    if (!isFirst) return;
    this.#decider.endsSeen = new Map();
    this.sinceMs = nowMs;
    this.resyncs++;
  }

  /** Time passes: who has fallen silent may have said something before. Whoever was stopped itself heard nobody then. */
  watch(nowMs: number, awakeSinceMs: number): void {
    for (const stream of this.#streams.all()) {
      const isSilent = nowMs - Math.max(stream.heardAtMs, awakeSinceMs) > silentMs;
      if (isSilent && !stream.isSilent) this.#ask(stream, nowMs);
      stream.isSilent = isSilent;
    }
  }

  /** Takes in how far the peers have told. */
  hear(): void {
    for (const stream of this.#streams.all()) {
      if (stream.holes.length === 0) continue;
      const toldTo = this.#learner.toldTo(stream);
      this.#fill(stream, ({ missedTo }) => missedTo <= toldTo);
    }
  }

  /** The peers have told all there is to tell. */
  forget(): void {
    this.sinceMs = -1;
    this.#decider.endsSeen = undefined;
    for (const stream of this.#streams.all()) this.#fill(stream, () => true);
  }

  #fill(stream: Tier1Stream, isTold: (hole: Hole) => boolean): void {
    const first = stream.holes.find(isTold);
    if (first === undefined) return;
    const haveGone = this.#haveGoneSince(first.sinceView);
    if (haveGone || this.#learner.silent.size > 0) {
      this.#untoldTo = this.#streams.order;
      this.#untoldIn = haveGone ? (this.#views.newest?.view.number ?? 0) : 0;
    }
    stream.holes = stream.holes.filter((hole) => !isTold(hole));
  }

  /** Whether somebody who was a member by that view cannot be asked any more. */
  #haveGoneSince(viewNumber: number): boolean {
    const then = this.#views.get(viewNumber)?.view;
    const newest = this.#views.newest?.view;
    if (then === undefined || newest === undefined || then.number >= newest.number) return false;
    const isThere = (member: Member) => newest.members.some((present) => isLifeOf(present, member));
    return then.members.some((member) => member.state !== 'joining' && !isThere(member));
  }
}

/** From when on the peers are to tell, when frames were missed after the last one decided; undefined for everything. */
function sinceOf({ timestampMs }: Tier1Stream): number | undefined {
  return timestampMs === 0 ? undefined : earlierTick(timestampMs);
}

/** A tick so early that it lies before this packet time by the clock of every tier 1. */
export function earlierTick(timestampMs: number): number {
  return (tickOfMs(timestampMs) - tickOfMs(limits.clockErrorMs)) | 0;
}
