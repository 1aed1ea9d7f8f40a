// Who takes a new flow: the one question on which all replicas of a group must give the same answer without asking.
//
// A placement is compiled once from a view and then asked for each new flow. It is a pure function of the view's value,
// the flow's hash and the ordinal of its start, so replicas, which have the same view at the same packet, agree on the
// owner, and exactly one of them finds itself. Nothing that only one replica knows may enter: no own counters, no
// clock, no position in the members' list. Members are put in the order of their names first, and a restarted server
// keeps the share it had, because its incarnation plays no part.
//
// Candidates are the active members with a weight; if no active member has one, all active members alike. Joining and
// draining members and standbys never get a new flow.
//
//   policy                 owner                                         when membership changes
//   rendezvous             best draw, by weight                          only flows of who left, or to who came
//   maglev                 slot of the hash in a table, by weight        the same and some 0.5 % more; cheapest look-up
//   modulo                 hash mod members                              nearly all flows; for comparison
//   weighted-random        hash on a line of weights                     a good part of the flows
//   round-robin            ordinal of the start mod members              not by flow at all
//   weighted-round-robin   ordinal of the start in a cycle by weight     not by flow at all
//   fewest-flows           rendezvous, weights corrected by flow counts  as rendezvous, and as the weights shift
//
// "Change" matters only for flows whose start is repeated under a newer view: a flow that is in a table stays there.
//
// The round robins need the ordinal of the start: the group's log counts all starts of the group (rows.ts). A packet that is
// no start has none (-1); a flow that begins with one is placed by its hash, as rendezvous would.
//
// The backup (`active-active`) is, under every policy, whom rendezvous hashing with the policy's weights prefers among the
// candidates without the owner: it spreads a lost server's flows over all survivors, and it stays when somebody else leaves.
// Where the owner is the only candidate, the backup is one of the active members with weight 0. With standbys it is the
// owner's standby, whatever the flow (shared/membership/standbys.ts).

import { mixSeeded } from '../../../../shared/hash/mix.ts';
import { hasStandbys, standbysOf, takesFlows } from '../../../../shared/membership/standbys.ts';
import type { PlacementName, View } from '../../../../shared/membership/view.ts';
import { maglevTable } from '../../../../shared/placement/maglev.ts';
import { type Candidate, Rendezvous } from '../../../../shared/placement/rendezvous.ts';
import { compareNames, seedOf } from '../../../../shared/placement/seed.ts';
import { cumulate, smoothCycle, weightedPick } from '../../../../shared/placement/weighted.ts';

/** A compiled view. Both functions are pure, allocate nothing, and give the same result on every replica. */
export interface Placement {
  /**
   * Index into `view.members` of the owner of a new flow, or -1 when no member takes new flows.
   *
   * `hi`, `lo`: the flow hash as int32 or u32 halves. `ordinal`: the number of this flow start in its group,
   * from 0, or -1 when the packet is not a start.
   */
  place(hi: number, lo: number, ordinal: number): number;
  /** Index into `view.members` of the backup of a flow of that owner, which is an index too, or -1; -1 when there is nobody else. */
  placeBackup(hi: number, lo: number, owner: number): number;
}

/**
 * Compiles the placement of a view. Costs a few milliseconds, for a thousand members some twenty: once for a view,
 * never for a packet.
 *
 * @throws RangeError when a weight in the view is not an integer from 0 to 65535: the view was not checked.
 */
export function compilePlacement(view: View): Placement {
  const active = view.members
    .map((member, index) => ({
      index,
      name: member.server,
      weight: member.weight,
      flows: member.flows,
      takesFlows: takesFlows(member),
    }))
    .filter((member) => member.takesFlows)
    .sort((a, b) => compareNames(a.name, b.name));
  const weighted = active.filter((member) => member.weight > 0);
  const candidates = weighted.length > 0 ? weighted : active.map((member) => ({ ...member, weight: 1 }));
  const others = active.filter((member) => !candidates.some((candidate) => candidate.index === member.index));

  const race = new Rendezvous(effectiveWeights(view.placement, candidates), view.seed);
  const choose = chooser(view.placement, candidates, race, view.seed);
  const otherRace = new Rendezvous(alike(others), view.seed);
  const candidateIndex = Int32Array.from(candidates, ({ index }) => index);
  const otherIndex = Int32Array.from(others, ({ index }) => index);
  const standbyIndex = standbyIndexes(view);
  const candidateOf = new Int32Array(view.members.length).fill(-1);
  for (const [at, { index }] of candidates.entries()) candidateOf[index] = at;

  return {
    place(hi, lo, ordinal) {
      return candidateIndex.length === 0 ? -1 : candidateIndex[choose(hi, lo, ordinal)];
    },
    placeBackup(hi, lo, owner) {
      const except = owner < 0 ? -1 : candidateOf[owner];
      if (standbyIndex !== undefined) return owner < 0 ? -1 : standbyIndex[owner];
      const best = race.best(hi, lo, except);
      if (best >= 0) return candidateIndex[best];
      const other = otherRace.best(hi, lo, otherIndex.indexOf(owner));
      return other < 0 ? -1 : otherIndex[other];
    },
  };
}

/** For each member the index of its standby, or -1; undefined where the backup is chosen for each flow. */
function standbyIndexes(view: View): Int32Array | undefined {
  if (!hasStandbys(view.rules.availability)) return undefined;
  const standbys = standbysOf(view);
  return Int32Array.from(view.members, ({ number }) => {
    const standby = standbys.get(number);
    return standby === undefined ? -1 : view.members.indexOf(standby);
  });
}

/** Index into the candidates (one at least) of the owner. */
type Chooser = (hi: number, lo: number, ordinal: number) => number;

interface Counted extends Candidate {
  readonly flows: number;
}

function chooser(policy: PlacementName, candidates: readonly Candidate[], race: Rendezvous, seed: number): Chooser {
  const count = candidates.length;
  const weights = candidates.map(({ weight }) => weight);
  const slotSeed = seedOf(seed, 'slot', '');
  const slotHi = slotSeed.hi | 0;
  const slotLo = slotSeed.lo | 0;
  switch (policy) {
    case 'rendezvous':
    case 'fewest-flows':
      return (hi, lo) => race.best(hi, lo, -1);
    case 'maglev': {
      const table = recentTable(candidates, seed);
      return (hi, lo) => table[(mixSeeded(hi, lo, slotHi, slotLo) >>> 0) % table.length];
    }
    case 'modulo':
      return (hi, lo) => (mixSeeded(hi, lo, slotHi, slotLo) >>> 0) % count;
    case 'weighted-random': {
      const ends = cumulate(weights);
      return (hi, lo) => weightedPick(ends, mixSeeded(hi, lo, slotHi, slotLo));
    }
    case 'round-robin':
      return (hi, lo, ordinal) => (ordinal < 0 ? race.best(hi, lo, -1) : ordinal % count);
    case 'weighted-round-robin': {
      const cycle = smoothCycle(weights);
      return (hi, lo, ordinal) => (ordinal < 0 ? race.best(hi, lo, -1) : cycle[ordinal % cycle.length]);
    }
  }
}

/** Tables made lately, the oldest first: the replicas of one process have the same views, and weights move to and fro. */
const tables = new Map<string, Uint16Array>();
const tablesKept = 16;

function recentTable(candidates: readonly Candidate[], seed: number): Uint16Array {
  const key = `${seed} ${candidates.map(({ name, weight }) => `${name}:${weight}`).join()}`;
  const table = tables.get(key) ?? maglevTable(candidates, seed);
  tables.delete(key);
  tables.set(key, table);
  if (tables.size > tablesKept) tables.delete(tables.keys().next().value ?? key);
  return table;
}

/** The candidates with the weights that the policy goes by where it goes by rendezvous hashing. */
function effectiveWeights(policy: PlacementName, candidates: readonly Counted[]): readonly Candidate[] {
  if (policy === 'fewest-flows') return correctedByFlows(candidates);
  return policy === 'modulo' || policy === 'round-robin' ? alike(candidates) : candidates;
}

function alike(candidates: readonly Candidate[]): Candidate[] {
  return candidates.map(({ name }) => ({ name, weight: 1 }));
}

/**
 * Weights that draw flows towards those who have fewest. With `fair` the flows a member would hold if all flows were
 * spread by weight,
 *
 *   corrected = weight * clamp(3 - 2 * flows / fair, 1/4, 2)
 *
 * so a member that is half empty gets twice its share, one that holds its share keeps it, and one that holds far too
 * many still gets a quarter. The counts in a view are already old when it is used; the two bounds keep everybody from
 * running to the same emptiest server, which is what makes naive least-loaded placement worse than none. Integers
 * throughout; the factor is in 64ths and the largest corrected weight becomes 65535.
 */
export function correctedByFlows(candidates: readonly Counted[]): Candidate[] {
  let allFlows = 0n;
  let allWeights = 0n;
  for (const { flows, weight } of candidates) {
    allFlows += BigInt(flows);
    allWeights += BigInt(weight);
  }
  const corrected = candidates.map(({ flows, weight }) => {
    if (allFlows === 0n) return weight * 64;
    const load = (64n * BigInt(flows) * allWeights) / (allFlows * BigInt(weight));
    return weight * Math.min(128, Math.max(16, 192 - 2 * Number(load)));
  });
  const largest = corrected.reduce((a, b) => Math.max(a, b), 1);
  return candidates.map(({ name }, index) => ({
    name,
    weight: Math.max(1, Math.floor((corrected[index] * 65_535) / largest)),
  }));
}
