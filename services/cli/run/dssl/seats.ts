// All memberships of a DSSL process. As a rule it is one, from the start to the end. A process may be a member of several groups from the beginning
// (roles.ts), and a server that moves becomes a member of another group while it drains in its own one: what is to be done next, says moving.ts.
//
// A group that it cannot join, it does not go to: that is said in the view where it is, and it goes on there.

import { systemClock, type Timer } from '../../../../shared/base/clock.ts';
import { reasonOf } from '../../../../shared/base/errors.ts';
import type { ClusterMap } from '../../../../shared/config/map.ts';
import type { ClusterSettings } from '../../../../shared/config/settings.ts';
import { type MoveStep, nextSteps, type Seat } from '../../../dssl/member/moving.ts';
import type { LifeContext } from './life.ts';
import { Lives } from './lives.ts';
import { addCounts, type LifeCounts } from './report.ts';
import type { Role } from './roles.ts';

export type SeatsContext = Omit<LifeContext, 'server' | 'standsFor' | 'own'>;

/** A seat that is over. */
export interface SeatEnd {
  readonly server: string;
  readonly group: string | undefined;
  /** How many there were. */
  readonly lives: number;
  readonly counts: LifeCounts;
}

/** How often the views are looked at for moves. */
const lookEveryMs = 200;

export class Seats {
  /** What those that are over came to, by server and group. */
  readonly ended = new Map<string, SeatEnd>();
  /** In the order in which they began, without those that are over. */
  #all: readonly Lives[] = [];
  readonly #context: SeatsContext;
  /** Incarnations of this process: other seats of a server are no strangers. */
  readonly #own = new Set<number>();
  readonly #running = new Map<Lives, Promise<void>>();
  /** Moves that could not be, as `from to`, as long as they are wanted. */
  readonly #refused = new Set<string>();
  readonly #ended = new AbortController();
  #failure: unknown;
  #timer: Timer | undefined;
  #map: ClusterMap;

  /** `context.ended` ends all of them. */
  constructor(context: SeatsContext, roles: readonly Role[]) {
    this.#map = context.cluster.map;
    this.#context = { ...context, ended: AbortSignal.any([context.ended, this.#ended.signal]) };
    for (const [line, { memberOf, ...role }] of roles.entries())
      this.#add(role, memberOf, { line, cameFrom: undefined });
  }

  /** Those that are not over, without those that are on their way to a group. */
  get settled(): readonly Lives[] {
    return this.#all.filter((lives) => lives.cameFrom === undefined || lives.current?.hasServed === true);
  }

  /** Settings of the cluster have changed. Lives to come read the map themselves. */
  retune(map: ClusterMap, settings: ClusterSettings): void {
    this.#map = map;
    for (const lives of this.#all) lives.retune(settings);
  }

  /** Runs all to their end. When one fails that was not on its way, the others leave, and this rejects with its FlowherdError. */
  async run(map: ClusterMap): Promise<void> {
    this.#map = map;
    for (const lives of this.#all) this.#run(lives);
    this.#look();
    try {
      while (this.#running.size > 0) await Promise.race(this.#running.values());
    } finally {
      this.#timer?.cancel();
    }
    if (this.#failure !== undefined) throw this.#failure;
  }

  #add(role: Omit<Role, 'memberOf'>, memberOf: string | undefined, origin: Pick<Seat, 'cameFrom' | 'line'>): Lives {
    const lives = new Lives({ ...this.#context, ...role, own: this.#own }, memberOf, {
      ...origin,
      isElsewhere: () => this.#isElsewhere(lives),
    });
    this.#all = [...this.#all, lives];
    return lives;
  }

  #run(lives: Lives): void {
    const end = this.#runToEnd(lives).finally(() => this.#forget(lives));
    this.#running.set(lives, end);
  }

  async #runToEnd(lives: Lives): Promise<void> {
    try {
      const end = await lives.run(this.#map);
      if (end.kind === 'stuck') process.exitCode = 1;
      if (end.kind === 'replaced') throw end.error;
    } catch (error) {
      if (this.#refuse(lives, reasonOf(error))) return;
      this.#failure ??= error;
      this.#ended.abort();
    }
  }

  /** A server that moves often leaves many seats behind, each with the tables of a group. */
  #forget(lives: Lives): void {
    this.#running.delete(lives);
    this.#all = this.#all.filter((each) => each !== lives);
    const { server, group, number, counts } = lives;
    if (counts === undefined) return;
    const name = `${server} ${group}`;
    const former = this.ended.get(name);
    const sum = { lives: (former?.lives ?? 0) + number, counts: addCounts(former?.counts, counts) };
    this.ended.set(name, { server, group, ...sum });
  }

  /** It was on its way, and could not join: the server stays where it is, if it is anywhere. */
  #refuse({ cameFrom, memberOf, current, server }: Lives, reason: string): boolean {
    if (cameFrom === undefined || current?.hasServed === true || this.settled.length === 0) return false;
    this.#context.log.warn({ server, from: cameFrom, to: memberOf, reason }, 'cannot move: stays in its group');
    this.#refused.add(`${cameFrom} ${memberOf}`);
    return true;
  }

  /** Whether the server goes on in another group, when this seat of it was lost on its way there. */
  #isElsewhere(lives: Lives): boolean {
    const { movesTo } = lives;
    const isThere = (other: Lives) => (other.group ?? other.memberOf) === movesTo;
    return movesTo !== undefined && this.#all.some((other) => other !== lives && isThere(other));
  }

  #look(): void {
    const steps = this.#context.ended.aborted ? [] : nextSteps(this.#all.flatMap((lives) => seatOf(lives)));
    for (const lives of this.#all) {
      const step = steps.find(({ group }) => group === lives.current?.actor?.group);
      this.#forgetRefusals(lives);
      this.#do(lives, step);
    }
    this.#timer = systemClock.setTimer(lookEveryMs, () => this.#look());
  }

  #do(lives: Lives, step: MoveStep | undefined): void {
    const standing = lives.current?.actor?.standing;
    if (standing === undefined) return;
    standing.moveWish = step?.kind === 'join' ? undefined : step;
    if (step?.kind !== 'join') return;
    const { group, to } = step;
    if (this.#refused.has(`${group} ${to}`)) {
      standing.moveWish = { kind: 'move', to: group };
      return;
    }
    const seat = this.#add({ server: lives.server }, to, { cameFrom: group, line: lives.line });
    // A server elsewhere is fed by one actor.
    if (this.#context.options.egress === 'bus') {
      this.#refuse(seat, 'its server is another process (--egress bus)');
      this.#forget(seat);
    } else {
      this.#context.log.info({ server: lives.server, from: group, to }, 'moves: joins the other group');
      this.#run(seat);
    }
  }

  #forgetRefusals(lives: Lives): void {
    if (lives.movesTo !== undefined || lives.current?.actor === undefined) return;
    for (const refused of this.#refused)
      if (refused.startsWith(`${lives.current.actor.group} `)) this.#refused.delete(refused);
  }
}

/** One that has no place yet, or waits for another one, is on its way all the same. */
export function seatOf({
  current,
  memberOf,
  cameFrom,
  line,
  movesTo,
}: Pick<Lives, 'current' | 'memberOf' | 'cameFrom' | 'line' | 'movesTo'>): Seat[] {
  const actor = current?.actor;
  const group = actor?.group ?? memberOf;
  if (group === undefined) return [];
  const origin = { group, cameFrom, line };
  if (actor === undefined || actor.phase === 'left')
    return [{ ...origin, phase: 'outside', movesTo: undefined, isEnding: false }];
  return [{ ...origin, phase: actor.phase, movesTo, isEnding: actor.standing.wantsToLeave }];
}
