// The law by which weights follow load: a member's weight is what it got of the flows, divided by how loaded that made it.
//
// What it got is between two things. The weight in force makes the load that comes with new flows; the weights of the time
// in which flows live (weights/past.ts) make the load that comes with those it holds. Most loads are of both kinds, so the
// law takes the middle (all three relative to the group and to the configured weights, 1 is the average):
//
//   wanted = (sqrt(weight * past) / load) ^ pull
//
// Why not `weight / load`, which is what comes to mind? Flows live long: the load of a server answers to its weight only as
// its old flows end. A law that looks at the weight alone goes on pushing meanwhile, and ends far beyond the mark. Why not
// `past / load`? A load that answers at once (handshakes) is not of the past's making: such a weight jumps to and fro. The
// middle is steady for both: with fast loads an error e becomes -e/2 by the next change, and with slow ones the weight goes
// where it drives the load to its place, and comes back as the load gets there.
//
// `pull` a little below 1 draws weights to the configured ones. Without it a load that does not tell members apart would
// leave weights to drift with chance. The price: of a difference in speed of 1 to 4, a difference in load of about 1 to 1.1
// stays.
//
// A server with few flows has sometimes more of them, sometimes fewer, by chance alone: by about the square root. What it
// has to do varies more than that, since a few of its flows make most of the work. A change of weights within what chance
// makes is not worth a view, so a wish says how much that may be: the setting `chance` over the square root of the flows.
// Whether it is heeded is seen in weights/doubt.ts.
//
// After Mitzenmacher, "How Useful Is Old Information?" (2000) and Dahlin, "Interpreting Stale Load Information" (2000):
// the older the reports, the closer to the even spread one has to stay. Flows per load as a server's speed is also how
// weighted round robin of gRPC (proposal A58) sets its weights.

import type { WeightSettings } from '../../config/settings.ts';
import { average, type Judged, relativeLoads } from './relative.ts';

/** What a policy wants for a member. */
export interface Wish {
  /** Weight as a multiple of the configured one. */
  readonly times: number;
  /** The share by which chance makes one weight more than another. */
  readonly chance: number;
}

/** How much weights follow load instead of staying as configured. */
const pull = 0.9;
/** One look at a member says no more than that it has this many times the average, or one of so many parts of it. */
const farthest = 4;
/** Flows that everybody is taken to hold besides, that none is without. */
const fewFlows = 10;

/**
 * What every member should get by the loads that `blend` names; one member at least, all with a weight. `blend` and
 * `chance` as in the settings.
 */
export function follow(members: readonly Judged[], blend: WeightSettings['load'], chance: number): Wish[] {
  const weights = ratios(members, ({ weight }) => weight);
  const past = ratios(members, (member) => member.past);
  const got = members.map((_, index) => Math.sqrt(weights[index] * past[index]));
  const loads = relativeLoads(members, blend, got);
  const times = members.map((_, index) => (got[index] / bounded(loads[index], farthest)) ** pull);
  // Together they have what is configured, so that the weight of a newcomer means the same as before.
  const all = average(members, times);
  return members.map(({ mean }, index) => ({
    times: times[index] / all,
    chance: chance / Math.sqrt(mean.flows + fewFlows),
  }));
}

/** Weights or shares per configured weight, relative to the group. */
function ratios(members: readonly Judged[], partOf: (member: Judged) => number): number[] {
  const own = members.map((member) => partOf(member) / member.base);
  const all = average(members, own);
  return own.map((ratio) => bounded(ratio / all, 2 * farthest));
}

function bounded(value: number, factor: number): number {
  return Math.min(factor, Math.max(1 / factor, value));
}
