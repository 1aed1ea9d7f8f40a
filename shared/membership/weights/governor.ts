// Adaptive weights: what the members of a group report of their load becomes the weights by which new flows are placed.
//
// Whoever sends all new flows to the server that reported the least load herds them: everybody runs to the same server
// until its next report, and the group is worse off than with no policy at all. Weights are a share of new flows, not a
// choice of one server, and they move so slowly that each move can be seen in the reports before the next one is made:
//
//   - loads are running means (weights/reports.ts), and follow a law that does not swing (weights/follow.ts);
//   - a change of weights waits for `everyMs`, and for two reports of everybody; a member of which nothing was heard since
//     the last change keeps its weight, and one not heard for three periods counts as average besides;
//   - a weight moves by a factor of `step` at most, and not at all for less than `deadband`, nor for what chance makes
//     (weights/doubt.ts);
//   - it stays between `least` and `most` times the configured weight.
//
// So a group that is balanced makes no new views. Refusing a server new flows (qos, thermal) is the exception: it does not
// wait for `everyMs`, only for the reports, it is done in one step, and undone in steps from the least weight on.
//
// All memory that matters is in the view: the weights in force, and who is refused. A member that takes over from another
// goes on from there. It waits as if there had been a change the moment before, so it has heard everybody by then.
//
// Only active members get other weights. A newcomer starts at its configured weight. It needs no slow start, since it gets
// new flows only, its share of them, and fills as they come; its weight may then grow as it is found emptier than the
// others, by steps. A configured weight of 0 is a standby's: it stays 0 under every policy.

import { defaultSettings, type WeightSettings } from '../../config/settings.ts';
import { stateEveryMs } from '../gossip.ts';
import type { Member, View } from '../view.ts';
import { Doubt, type WishedWeight } from './doubt.ts';
import { boundsOf, move } from './move.ts';
import { lifetimeOf, PastShares } from './past.ts';
import type { Judged } from './relative.ts';
import { type MemberReport, Reports } from './reports.ts';
import { isReportPolicy, type Wanted, wishes } from './wishes.ts';

export type { MemberReport } from './reports.ts';

/** Periods of reports after which a member counts as silent, and reports of everybody that a change waits for. */
const silentPeriods = 3;
const periodsBetween = 2;

/** The present load is the work of so many of the last changes at least, even where flows live for a moment. */
const changesRemembered = 6;

/** Pause between two looks at the reports while nothing is to change. */
const lookEveryMs = 250;

/** What all have under the policy `equal`: always the same, so that who comes and goes changes nobody's weight. */
const alike = 100;

export class WeightGovernor {
  #settings: WeightSettings;
  #stateMs: number;
  readonly #reports = new Reports();
  readonly #past = new PastShares();
  readonly #doubt = new Doubt();
  #lastView: View | undefined;
  #changedAtMs = Number.NEGATIVE_INFINITY;
  #lookedAtMs = Number.NEGATIVE_INFINITY;
  #lifetimeMs = 0;

  /** `stateMs` is the setting `watching.stateMs`: how often members report. */
  constructor(settings: WeightSettings, stateMs: number = defaultSettings.watching.stateMs) {
    this.#settings = settings;
    this.#stateMs = stateMs;
  }

  /** Live change of settings. */
  retune(settings: WeightSettings, stateMs: number = this.#stateMs): void {
    this.#settings = settings;
    this.#stateMs = stateMs;
  }

  /** Takes a report in. */
  heard(report: MemberReport): void {
    const periodMs = stateEveryMs(this.#reports.size, this.#stateMs);
    this.#reports.take(report, this.#settings.smoothing, silentPeriods * periodMs);
  }

  /**
   * New weights by server, of those members of the view whose weight is to change; undefined when nothing is to change
   * now. It may be asked at every tick: it looks at the reports only now and then.
   */
  propose(view: View, nowMs: number): ReadonlyMap<string, number> | undefined {
    this.#observe(view, nowMs);
    const periodMs = stateEveryMs(view.members.length, this.#stateMs);
    const { policy, everyMs } = this.#settings;
    const passedMs = nowMs - this.#changedAtMs;
    const mayMove = passedMs >= everyMs;
    if (passedMs < periodsBetween * periodMs || !(mayMove || isReportPolicy(policy))) return undefined;
    if (nowMs - this.#lookedAtMs < lookEveryMs) return undefined;
    this.#lookedAtMs = nowMs;
    const members = view.members.filter(({ state, base }) => state === 'active' && base > 0);
    const next = isReportPolicy(policy)
      ? this.#byReports(members, nowMs, silentPeriods * periodMs, mayMove)
      : this.#byConfiguration(members);
    const changed = new Map<string, number>();
    for (const [index, { server, weight }] of members.entries()) {
      if (next[index] !== weight) changed.set(server, next[index]);
    }
    if (changed.size === 0) return undefined;
    // Should writing fail, because somebody was first, then what that one wrote has to be seen at work first.
    this.#changedAtMs = nowMs;
    return changed;
  }

  /** Notes when weights have changed, by whomever. */
  #observe(view: View, nowMs: number): void {
    // A clock that was set back makes a pause begin anew, not last for ever.
    this.#changedAtMs = Math.min(this.#changedAtMs, nowMs);
    this.#lookedAtMs = Math.min(this.#lookedAtMs, nowMs);
    const last = this.#lastView;
    if (last === view) return;
    this.#lastView = view;
    this.#reports.keepOnly(new Set(view.members.map(({ server }) => server)));
    if (last === undefined || hasOtherWeights(last, view)) this.#changedAtMs = nowMs;
    this.#pass(
      view.members.filter(({ state }) => state === 'active'),
      nowMs,
    );
  }

  #pass(active: readonly Member[], nowMs: number): void {
    this.#past.pass(active, Math.max(this.#lifetimeMs, changesRemembered * this.#settings.everyMs), nowMs);
  }

  #byConfiguration(members: readonly Member[]): number[] {
    const { policy, step } = this.#settings;
    return members.map(({ weight, base }) => {
      const { least } = boundsOf(base, this.#settings);
      // What is wanted does not tremble, so it is reached exactly.
      const manner = { least: weight === 0 ? least : 1, most: 65_535, step, deadband: 0 };
      return move(weight, policy === 'equal' ? alike : base, manner);
    });
  }

  /** What reports make of the weights. If these may not move yet, all that can happen is that a server is refused. */
  #byReports(members: readonly Member[], nowMs: number, silentMs: number, mayMove: boolean): number[] {
    const heard = members.map(({ server, incarnation }) => {
      const known = this.#reports.get(server);
      if (known?.incarnation !== incarnation || known.heardAtMs <= this.#changedAtMs) return undefined;
      return nowMs - known.heardAtMs > silentMs ? undefined : known;
    });
    this.#lifetimeMs = lifetimeOf(heard.flatMap((known) => known?.mean ?? []));
    this.#pass(members, nowMs);
    const judged: Judged[] = [];
    for (const [index, { server, base, weight }] of members.entries()) {
      const known = heard[index];
      if (known === undefined) continue;
      judged.push({ server, base, weight, past: this.#past.of(server), mean: known.mean, load: known.load });
    }
    const wanted = wishes(judged, this.#settings, 2 * judged.length >= members.length);
    const byServer = new Map(judged.map(({ server }, index) => [server, wanted[index]]));
    const heeded = this.#heeded(members, byServer, nowMs);
    const next = members.map(({ server, weight, base }) => {
      const wish = byServer.get(server) ?? 'keep';
      if (wish === 'none') return 0;
      if (wish === 'keep' || !mayMove) return weight;
      const { step, deadband } = this.#settings;
      return move(weight, heeded.get(server) ?? base, { ...boundsOf(base, this.#settings), step, deadband });
    });
    if (next.some((weight) => weight > 0)) return next;
    // Somebody has to take the flows: with nobody better than the others, all get the same part of what is configured.
    return members.map(({ base }) => boundsOf(base, this.#settings).least);
  }

  /** The weights that are wished for beyond doubt, where there are any in force to compare with. */
  #heeded(members: readonly Member[], byServer: ReadonlyMap<string, Wanted>, nowMs: number): Map<string, number> {
    const wished: WishedWeight[] = [];
    for (const { server, incarnation, weight, base } of members) {
      const wish = byServer.get(server);
      if (wish === undefined || typeof wish === 'string' || weight === 0) continue;
      wished.push({ server, incarnation, weight, wanted: wish.times * base, chance: wish.chance });
    }
    return this.#doubt.heed(wished, Math.max(this.#lifetimeMs, this.#settings.everyMs), nowMs);
  }
}

/** Whether a member that both views have got another weight meanwhile. */
function hasOtherWeights(one: View, other: View): boolean {
  const before = new Map(one.members.map((member) => [member.server, member]));
  return other.members.some(({ server, incarnation, weight }) => {
    const member = before.get(server);
    return member?.incarnation === incarnation && member.weight !== weight;
  });
}
