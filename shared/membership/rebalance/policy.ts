// Rebalancing: which group should give a server to which, when traffic has moved from one to another. A group's share of the traffic is fixed
// (tier 1 hashes flows to groups), so what can follow the traffic is the servers.
//
// Whoever moves servers by load swings if the groups change places by a move: the giver is then the busier one, and wants its server
// back. So a move is wanted only if it leaves the order of the two as it is. With the load T of the taker, on t servers, and G of the giver, on g:
//
//   T / t  >=  over * G / g          the taker is clearly busier
//   T / (t + 1)  >=  G / (g - 1)     and is not less busy after the move
//
// The way back would need G / (g - 1) >= over * T / (t + 1), and `over` is more than 1. Nor can moves go round among three groups: each lowers
// the higher load of its two groups, and lifts the lower one to that of the other at most; so at the same loads they come to an end.
//
// That holds for amounts, which more servers share. Levels (a temperature, a latency) are not shared: nobody can foretell what a server
// more does to them. Of these the mean counts, and a bound: the taker's is at `least` or above, the giver's below.
//
// Loads tremble and groups fill in bursts, so a move must be wanted for a while (`Rebalancer`). One pair of groups must be: where two idle
// groups tremble, now the one is the best giver and now the other, and either may give all the time.

import { limits } from '../../base/limits.ts';
import type { RebalanceSettings } from '../../config/settings.ts';
import { compareNames } from '../../placement/seed.ts';
import type { Load, LoadName } from '../load.ts';
import { takesFlows } from '../standbys.ts';
import { isLifeOf } from '../transitions.ts';
import type { Member, View } from '../view.ts';
import type { GroupSummary, SummaryMessage } from './summary.ts';

/** A summary tells of now for so long. */
export const summaryKeptMs = 5_000;

/** Pause between two looks at the summaries: they come about once a second. */
const lookEveryMs = 500;

/** Loads that more servers share: the same work on one server more is less on each. The others are levels. */
const amounts: readonly LoadName[] = ['flows', 'newFlows', 'packets', 'bytes', 'cpu', 'handler'];

/** One server of the group `from` should go to the group `to`. */
export interface Move {
  readonly from: string;
  readonly to: string;
  /** In one sentence, for people. */
  readonly why: string;
}

/** The best move, or why there is none; and of each group that can neither give nor take, why not. */
export type Plan = ({ readonly move: Move } | { readonly none: string }) & { readonly leftOut: readonly string[] };

/** Settings that a plan goes by; how often and how long is the `Rebalancer`'s. */
export type PlanSettings = Pick<RebalanceSettings, 'by' | 'over' | 'least' | 'minimum' | 'atOnce'>;

/** The move that is wanted most by these summaries, one for each group. It is told whether or not servers may move (`mode`). */
export function planMove(summaries: readonly GroupSummary[], settings: PlanSettings): Plan {
  const { standings, leftOut } = standingsOf(summaries, settings.by);
  const underWay = serversUnderWay(summaries);
  if (underWay >= settings.atOnce) {
    const servers = underWay === 1 ? '1 server is' : `${underWay} servers are`;
    return { none: `${servers} under way, and rebalance.atOnce is ${settings.atOnce}`, leftOut };
  }
  const [pair] = wantedPairs(standings, settings);
  if (pair === undefined) return { none: whyNone(standings, settings), leftOut };
  return { move: moveOf(pair, settings.by), leftOut };
}

/** The server of a group that moves: of those that take flows and stay, the one with the fewest flows, then by name. */
export function chooseServer(view: View, loads: ReadonlyMap<string, Load>): Member | undefined {
  if (view.rules.availability === 'active-passive') return undefined;
  const flowsOf = ({ server, flows }: Member) => loads.get(server)?.flows ?? flows;
  const able = view.members.filter((member) => takesFlows(member) && member.movesTo === undefined);
  return able.sort((one, other) => flowsOf(one) - flowsOf(other) || compareNames(one.server, other.server))[0];
}

interface Heard {
  readonly message: SummaryMessage;
  readonly atMs: number;
}

/**
 * What one decider remembers between summaries and moves. Another one that takes over knows no pauses: it needs `forMs` of its own, and sees
 * the servers that are under way.
 */
export class Rebalancer {
  readonly #heard = new Map<string, Heard>();
  /** Since when each pair has been wanted. */
  #wantedSinceMs = new Map<string, number>();
  /** The takers of moves that were proposed, as long as one is wanted for them. */
  #said = new Set<string>();
  #movedAtMs = Number.NEGATIVE_INFINITY;
  #lookedAtMs = Number.NEGATIVE_INFINITY;

  /** Takes a summary in. Two members may speak for a group for a while: the one with the older view is not heeded. */
  heard(message: SummaryMessage, nowMs: number): void {
    const before = this.#heard.get(message.group);
    const isKnown = before !== undefined && isFresh(before, nowMs);
    if (isKnown && !isLifeOf(before.message.sender, message.sender) && message.view < before.message.view) return;
    // Somebody has begun a move, be it an operator, or another decider.
    if (message.moving > (isKnown ? before.message.moving : 0)) this.noteMove(nowMs);
    // Put in anew, so that the first one of the map is the longest silent one.
    this.#heard.delete(message.group);
    this.#heard.set(message.group, { message, atMs: nowMs });
    if (this.#heard.size > limits.groups) this.#heard.delete([...this.#heard.keys()][0]);
  }

  /** A move has begun, by whomever: the pause until the next one counts from here. Summaries tell that too. */
  noteMove(nowMs: number): void {
    this.#movedAtMs = nowMs;
  }

  /**
   * The move to begin now; undefined when there is none. It may be asked at every tick, and must be once a second or so. A move is proposed once.
   * When nothing has come of it, `auto` proposes it again after the pause. `advise` does not tell people again that a group needs a server, until for
   * a moment it has not needed one.
   */
  propose(settings: RebalanceSettings, nowMs: number): Move | undefined {
    // A clock that was set back makes a pause begin anew, not last for ever.
    this.#movedAtMs = Math.min(this.#movedAtMs, nowMs);
    this.#lookedAtMs = Math.min(this.#lookedAtMs, nowMs);
    if (nowMs - this.#lookedAtMs < lookEveryMs) return undefined;
    const hasPaused = nowMs - this.#lookedAtMs > summaryKeptMs;
    this.#lookedAtMs = nowMs;
    const pairs = settings.mode === 'off' ? [] : this.#pairs(settings, nowMs);
    const since = new Map<string, number>();
    for (const pair of pairs) {
      const before = hasPaused ? undefined : this.#wantedSinceMs.get(keyOf(pair, settings));
      since.set(keyOf(pair, settings), Math.min(before ?? nowMs, nowMs));
    }
    this.#wantedSinceMs = since;
    this.#said = new Set(pairs.map(({ taker }) => taker.group).filter((group) => this.#said.has(group)));
    if (nowMs - this.#movedAtMs < settings.everyMs) return undefined;
    const ripe = pairs.find((pair) => {
      const isNews = settings.mode === 'auto' || !this.#said.has(pair.taker.group);
      return isNews && nowMs - (since.get(keyOf(pair, settings)) ?? nowMs) >= settings.forMs;
    });
    if (ripe === undefined) return undefined;
    this.#said.add(ripe.taker.group);
    this.noteMove(nowMs);
    return moveOf(ripe, settings.by);
  }

  /** What is wanted by the summaries that tell of now; nothing while as many servers are under way as may be. */
  #pairs(settings: RebalanceSettings, nowMs: number): readonly Pair[] {
    for (const [group, heard] of this.#heard) if (!isFresh(heard, nowMs)) this.#heard.delete(group);
    const summaries = [...this.#heard.values()].map(({ message }) => message);
    if (serversUnderWay(summaries) >= settings.atOnce) return [];
    return wantedPairs(standingsOf(summaries, settings.by).standings, settings);
  }
}

function isFresh({ atMs }: Heard, nowMs: number): boolean {
  return Math.abs(nowMs - atMs) <= summaryKeptMs;
}

function keyOf({ giver, taker }: Pair, { by }: PlanSettings): string {
  return `${by} ${giver.group} ${taker.group}`;
}

/** Servers that have not arrived yet. Those that have, and drain in the group that they came from, may do so for hours. */
function serversUnderWay(summaries: readonly GroupSummary[]): number {
  return summaries.reduce((sum, { leaving }) => sum + leaving, 0);
}

/** How a group stands in the load that groups are compared by. */
interface Standing {
  readonly group: string;
  readonly servers: number;
  readonly isFixed: boolean;
  /** Servers that join are on their way to take their part. */
  readonly joining: number;
  /** Load a server as one that takes, and as one that gives; a level is the mean, whatever moves. */
  readonly load: number;
  readonly loadAfterTaking: number;
  readonly givingLoad: number;
  readonly loadAfterGiving: number;
}

interface Pair {
  readonly giver: Standing;
  readonly taker: Standing;
}

function standingsOf(summaries: readonly GroupSummary[], by: LoadName) {
  const standings: Standing[] = [];
  const leftOut: string[] = [];
  for (const summary of summaries) {
    const standing = standingOf(summary, by);
    if (typeof standing === 'string') leftOut.push(standing);
    else standings.push(standing);
  }
  return { standings, leftOut };
}

/**
 * Where a group stands, or in one sentence why it cannot be compared. Servers that have not told their load count as average, if most of
 * the group have. What may be on its way is taken to be there where that makes a move less wanted: servers that join share the load
 * of a taker, and do not yet share that of a giver.
 */
function standingOf(
  { group, servers, leaving, joining, isFixed, loads }: GroupSummary,
  by: LoadName,
): Standing | string {
  const { sum, told } = loads[by];
  const taking = servers + leaving;
  if (servers === 0) return `${group} has no server that takes flows and stays, so it has no load to go by`;
  if (told === 0) return `${group} has ${countOf(taking)}, and none tells its ${by}`;
  if (2 * told < taking) return `${group} has ${countOf(taking)}, and only ${told} of them told ${by}`;
  const same = { group, servers, isFixed, joining };
  if (!isAmount(by)) {
    const mean = sum / told;
    return { ...same, load: mean, loadAfterTaking: mean, givingLoad: mean, loadAfterGiving: mean };
  }
  const total = told === taking ? sum : (sum * taking) / told;
  return {
    ...same,
    load: total / (servers + joining),
    loadAfterTaking: total / (servers + joining + 1),
    givingLoad: total / servers,
    loadAfterGiving: total / (servers - 1),
  };
}

/** Every pair of groups that a server may move between: the busiest taker first, and of its givers the one that is least busy after giving. */
function wantedPairs(standings: readonly Standing[], settings: PlanSettings): Pair[] {
  const givers = giversOf(standings, settings);
  const takers = takersOf(standings).filter((taker) => !isContent(taker, settings));
  const pairs = takers.flatMap((taker) => givers.map((giver) => ({ giver, taker })));
  // A group is no pair with itself: it is not `over` times as loaded.
  return pairs.filter((pair) => whyNot(pair, settings) === undefined);
}

function takersOf(standings: readonly Standing[]): Standing[] {
  return [...standings].sort((one, other) => other.load - one.load || compareNames(one.group, other.group));
}

function giversOf(standings: readonly Standing[], { minimum }: PlanSettings): Standing[] {
  return standings
    .filter(({ servers, isFixed }) => servers > Math.max(1, minimum) && !isFixed)
    .sort((one, other) => one.loadAfterGiving - other.loadAfterGiving || compareNames(one.group, other.group));
}

/** The group needs no server, whatever the others have. */
function isContent({ load }: Standing, { least }: PlanSettings): boolean {
  return load < least || load <= 0;
}

/** Why no server should move between the two, in one sentence; undefined when one should. The taker is in need. */
function whyNot({ giver, taker }: Pair, { by, over, least }: PlanSettings): string | undefined {
  if (!isAmount(by) && giver.givingLoad >= least)
    return `no group can spare a server: ${loadOf(giver, by)}, and rebalance.least is ${shown(least)}`;
  if (taker.load < over * giver.givingLoad)
    return `${loadOf(taker, by)}, ${giver.group} ${shown(giver.givingLoad)}: that is less than ${over} times as much`;
  if (isAmount(by) && taker.loadAfterTaking < giver.loadAfterGiving)
    return `${taker.group} would have ${shown(taker.loadAfterTaking)} ${by} a server, and ${giver.group} ${shown(giver.loadAfterGiving)}: the move would only swap them`;
  return undefined;
}

/** Why there is no move: what holds back the busiest group and the best of its givers. */
function whyNone(standings: readonly Standing[], settings: PlanSettings): string {
  const { by, least, minimum } = settings;
  if (standings.length < 2) return `fewer than two groups tell their ${by}`;
  const [taker] = takersOf(standings);
  if (isContent(taker, settings))
    return `no group needs a server: ${loadOf(taker, by)}, and rebalance.least is ${shown(least)}`;
  const giver = giversOf(standings, settings).find((each) => each !== taker);
  const why = giver && whyNot({ giver, taker }, settings);
  const fixed = standings.some(({ isFixed }) => isFixed) ? ', and servers with standbys of their own stay' : '';
  return why ?? `no group can give a server to ${taker.group}: rebalance.minimum is ${minimum}${fixed}`;
}

function moveOf({ giver, taker }: Pair, by: LoadName): Move {
  const then = isAmount(by) ? `, and ${shown(giver.loadAfterGiving)} after giving one` : '';
  const why = `${loadOf(taker, by)}, ${giver.group} ${shown(giver.givingLoad)}${then}`;
  return { from: giver.group, to: taker.group, why };
}

/** `g2 has 0.91 cpu a server`, `g2 has a mean temperature of 71`. */
function loadOf({ group, load, joining }: Standing, by: LoadName): string {
  if (!isAmount(by)) return `${group} has a mean ${by} of ${shown(load)}`;
  return `${group} has ${shown(load)} ${by} a server${joining > 0 ? ' with those that join' : ''}`;
}

function isAmount(by: LoadName): boolean {
  return amounts.includes(by);
}

function countOf(servers: number): string {
  return servers === 1 ? '1 server' : `${servers} servers`;
}

/** A number for people, to two or three digits. */
function shown(value: number): string {
  return String(Number(value.toPrecision(Math.abs(value) < 1 ? 2 : 3)));
}
