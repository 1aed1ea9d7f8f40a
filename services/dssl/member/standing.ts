// Where this server stands in its group, and which commands that calls for: a joiner that holds all state becomes active, one that is to go drains
// and leaves when its flows have ended, and some member ticks when nobody else has.
//
// Pure: views, what the log brings and time in; commands out.

import type { Command } from '../../../shared/log/records/command.ts';
import { takesFlows } from '../../../shared/membership/standbys.ts';
import { drain, isLifeOf, isSpare, type Life } from '../../../shared/membership/transitions.ts';
import type { Member, View } from '../../../shared/membership/view.ts';
import { compareNames } from '../../../shared/placement/seed.ts';
import type { Proposals } from './proposals.ts';

/** `outside`: no member yet. `left`: was one, and is no longer. */
export type MemberPhase = 'outside' | 'joining' | 'active' | 'draining' | 'left';

/** In words, for people. */
export const phaseWords: Readonly<Record<MemberPhase, string>> = {
  outside: 'server is no member',
  joining: 'server is joining: it fetches the state of its group',
  active: 'server is active',
  draining: 'server is draining',
  left: 'server has left its group',
};

/** What this member does because its server moves (moving.ts): it drains here, or wants it on record that it is on its way to a group. */
export type MoveWish = { readonly kind: 'drain' | 'move'; readonly to: string };

/** Nobody has ticked for so long: the first member does, and each one behind it a moment later. */
const tickEveryMs = 1_000;
const tickRankMs = 150;
const tickRanks = 5;
/** The last member that holds state waits for so long for one that joins to fetch it. */
const handOverMs = 15_000;

export interface StandingFacts {
  readonly view: View;
  readonly epoch: string;
  /** All of the group's state is here, and the log is followed. */
  readonly isWhole: boolean;
  /** The log is the one that is known. What another one appends would pass for a sign that somebody follows the line. */
  readonly isOnLine: boolean;
  readonly ownFlows: number;
  /** Those of them that have ended, and are kept for late copies of their packets. */
  readonly endedFlows: number;
  /** Whether another member says that it holds all of the group's state too. */
  othersFollow?(): boolean;
  /** Entries that wait in the log. */
  readonly lag: number;
}

/** A server that drains stays so long for late packets of flows that have ended. */
export const lingerMs = 10_000;

/** A joiner becomes active when it is this near to the end of the log. */
const lagToActivate = 64;

export class Standing {
  phase: MemberPhase = 'outside';
  /** False while the server is not ready: the member fetches state, and does not become active before it may. */
  mayActivate = true;
  /** Told to drain and leave. */
  wantsToLeave = false;
  moveWish: MoveWish | undefined;
  /** It has asked to leave, of its own will. From then on it cannot be called back: its asking may be on its way. */
  asksToLeave = false;
  readonly #self: Life;
  readonly #proposals: Proposals;
  #leaveByMs = Number.POSITIVE_INFINITY;
  #tickedAtMs: number | undefined;
  /** Since when all own flows have ended. */
  #endedSinceMs: number | undefined;

  constructor(self: Life, proposals: Proposals) {
    this.#self = { server: self.server, incarnation: self.incarnation };
    this.#proposals = proposals;
  }

  /** Begins to drain: no new flows; the server leaves when its flows have ended, or at `leaveByMs` at the latest. */
  drain(leaveByMs: number): void {
    this.wantsToLeave = true;
    this.#leaveByMs = leaveByMs;
  }

  /** The view in force. True when the phase has changed. */
  onView(view: View): boolean {
    const before = this.phase;
    const member = view.members.find((each) => isLifeOf(each, this.#self));
    if (member !== undefined) this.phase = member.state;
    else if (before !== 'outside') this.phase = 'left';
    this.#proposals.clear();
    return before !== this.phase;
  }

  /** A command of the log that is of the epoch in force. */
  onCommand({ kind, author }: Command, isWhole: boolean, nowMs: number): void {
    if (kind !== 'ask') {
      this.#tickedAtMs = nowMs;
      return;
    }
    // Somebody looks for a member that holds state.
    if (isWhole && !isLifeOf(author, this.#self)) this.#tickedAtMs = nowMs - tickEveryMs;
  }

  /** Time passes. */
  tick(facts: StandingFacts, nowMs: number): void {
    const { view, isWhole } = facts;
    const life = this.#self;
    if (!facts.isOnLine) return;
    const isTickDue = this.#isTickDue(view, isWhole, nowMs);
    // At rest, as nearly always.
    if (!isTickDue && this.phase === 'active' && !this.wantsToLeave && this.moveWish === undefined) return;
    const common = { author: this.#self, epoch: facts.epoch };
    const propose = (command: Command) => this.#proposals.propose(command.kind, command, nowMs);
    if (isTickDue) propose({ ...common, kind: 'tick' });
    if (this.phase === 'joining') {
      if (this.wantsToLeave) propose({ ...common, kind: 'leave', life });
      else if (isWhole && this.mayActivate && facts.lag <= lagToActivate) propose({ ...common, kind: 'activate' });
    } else if (this.phase === 'active' && this.wantsToLeave) {
      if (isSpare(view, life) || nowMs >= this.#leaveByMs) propose({ ...common, kind: 'drain', life });
    } else if (this.moveWish?.kind === 'move' && !this.asksToLeave) {
      propose({ ...common, kind: 'move', life, to: this.moveWish.to });
    } else if (this.phase === 'active' && this.moveWish?.kind === 'drain') {
      // The last one that takes flows stays, whatever has become of the others meanwhile.
      const isOther = (member: Member) => takesFlows(member) && !isLifeOf(member, life);
      const { to } = this.moveWish;
      if (drain(view, life, to).members.some(isOther)) propose({ ...common, kind: 'drain', life, to });
    } else if (this.phase === 'draining' && this.#mayLeave(facts, nowMs)) {
      this.asksToLeave = true;
      propose({ ...common, kind: 'leave', life });
    }
  }

  #mayLeave({ view, isWhole, ownFlows, endedFlows, othersFollow }: StandingFacts, nowMs: number): boolean {
    // While state is on its way, no flow in the table says nothing.
    if (!isWhole || ownFlows > endedFlows) this.#endedSinceMs = undefined;
    else this.#endedSinceMs ??= nowMs;
    const hasEnded = this.#endedSinceMs !== undefined && nowMs - this.#endedSinceMs >= lingerMs;
    const isDue = (isWhole && ownFlows === 0) || hasEnded || nowMs >= this.#leaveByMs;
    if (!isDue) return false;
    // What the group knows is in those that follow its log. Somebody who joins may not have it yet, nor who has just lost it.
    const others = view.members.filter((member) => !isLifeOf(member, this.#self));
    const isLast =
      others.length > 0 && (othersFollow?.() === false || others.every(({ state }) => state === 'joining'));
    return !isLast || nowMs >= Math.max(this.#leaveByMs, 0) + handOverMs;
  }

  /** Nobody has ticked for so long that it is this member's turn. */
  #isTickDue(view: View, isWhole: boolean, nowMs: number): boolean {
    if (!isWhole) return false;
    this.#tickedAtMs ??= nowMs;
    if (nowMs - this.#tickedAtMs < tickEveryMs) return false;
    const names = view.members.map(({ server }) => server).sort(compareNames);
    const at = names.indexOf(this.#self.server);
    // One that is no member has nobody before it only where there is none.
    const rank = at >= 0 ? Math.min(at, tickRanks) : names.length === 0 ? 0 : tickRanks + 1;
    return nowMs - this.#tickedAtMs >= tickEveryMs + rank * tickRankMs;
  }
}
