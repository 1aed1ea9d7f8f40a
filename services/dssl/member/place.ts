// How a server finds its place in a cluster by itself: the shell round shared/membership/assignment.ts, which makes the choice.
//
//   read mirrors ─► the name is there? ─ yes ─► does that life answer? ─ yes ─► refused
//       ▲              │ no                        │ no: its place is free
//       │              └────────────┬──────────────┘
//       │                        choose ─► follow that group's log ─► read and choose again ─► join, as it was chosen
//       └──────────── declined, or the name appeared elsewhere meanwhile ◄────────────┘
//
// The actor follows the group's log before it joins, so it holds the view that its join is judged by. It joins as `joining` and stays so
// until its server is started and given to it (`serve`): a server is told its group when it is made, and the group is certain only now.
//
// A view per group means that two processes of one name could join two groups in the same moment. Each waits until its own join is
// mirrored, and then reads the mirrors of the other groups once more; the later one at least sees the other, takes its join back and begins again, as
// another life: each joins once.

import { randomInt } from 'node:crypto';
import type { Clock } from '../../../shared/base/clock.ts';
import { errorCodes, FlowherdError } from '../../../shared/base/errors.ts';
import type { Bus, KeyValue } from '../../../shared/bus/bus.ts';
import type { Subjects } from '../../../shared/bus/subjects.ts';
import { birthOf, type ClusterMap } from '../../../shared/config/map.ts';
import { readMirrors } from '../../../shared/config/store.ts';
import { encodeCommand } from '../../../shared/log/records/command.ts';
import {
  type FoundLife,
  findPlace,
  livesOf,
  type Place,
  standbyProblem,
  type Views,
} from '../../../shared/membership/assignment.ts';
import { isLifeOf, type Life } from '../../../shared/membership/transitions.ts';
import { findMember } from '../../../shared/membership/view.ts';
import { DsslActor, type DsslActorOptions } from '../actor.ts';
import type { Egress } from '../egress/egress.ts';
import { LateEgress } from '../egress/late.ts';
import { decodePeer, encodePeer } from '../recovery/messages.ts';

export interface PlaceOptions extends Omit<DsslActorOptions, 'birth' | 'egress' | 'settings'> {
  readonly map: ClusterMap;
  /** The group to join; default: the one most in need. */
  readonly memberOf: string | undefined;
  /** Incarnations of this process: a server that moves is in two groups under one name. What comes here is added. */
  readonly own: Set<number>;
  /** Aborted when the process is to end: then no place is taken any more. */
  readonly stop: AbortSignal;
}

/** A server's place in its group. The actor is a member, is joining, and runs. */
export interface TakenPlace {
  readonly group: string;
  readonly actor: DsslActor;
  /** Gives the actor its server, which is started: from now on it may become active. */
  serve(server: Egress): void;
  /** Gives the place back; only while nothing is served. Never rejects. */
  giveBack(): Promise<void>;
}

/** A life that is asked so often, with a pause after each time, and says nothing is dead. */
const asks = 6;
const askPauseMs = 250;
/** Tries to get into a group. Each is lost to a server that got in. */
const triesMax = 1_000;
/** A join is mirrored within this, or the store is down. */
const mirroredMs = 4_000;
const lookPauseMs = 50;
/** A standby waits so long for servers that it can stand for. */
const serversMs = 30_000;
/** How long it may take to give a place back. */
const giveBackMs = 2_500;
/** Two processes of one name that met wait for a random time up to this before they try again. */
const clashPauseMs = 500;

/**
 * Finds a place and takes it. Resolves to undefined when `stop` was first. Rejects with a FlowherdError: `bad-config`
 * (no such group), `bad-state` (a server of that name is running), `limit-exceeded` (no room), or the store's.
 */
export async function takePlace(options: PlaceOptions): Promise<TakenPlace | undefined> {
  const { map, memberOf, controlBus, subjects } = options;
  const ids = map.groups.map(({ id }) => id);
  if (memberOf !== undefined && !ids.includes(memberOf)) {
    const text = `there is no group ${memberOf} in this cluster; its groups are ${ids.join(', ')}`;
    throw new FlowherdError(errorCodes.badConfig, text);
  }
  return new PlaceFinder(options, await controlBus.openKeyValue(subjects.bucket)).find();
}

/** Why a server that did not ask to leave is no member any more, for people. */
export function removalOf({ candidate: { server }, group, view }: DsslActor): FlowherdError {
  const text =
    findMember(view, server) !== undefined
      ? `server ${server} was replaced in group ${group}: it did not answer, and another process of that name took its place`
      : `server ${server} was removed from group ${group}; start it again to join anew`;
  return new FlowherdError(errorCodes.badState, text);
}

class PlaceFinder {
  readonly #options: PlaceOptions;
  readonly #store: KeyValue;
  readonly #groups: readonly string[];
  #self: Life;
  /** Since when a standby has waited for servers. */
  #lacksSinceMs: number | undefined;
  /** Incarnations that were asked and did not answer. */
  readonly #dead = new Set<number>();
  #listening: { readonly actor: DsslActor; readonly egress: LateEgress } | undefined;

  constructor(options: PlaceOptions, store: KeyValue) {
    this.#options = options;
    this.#store = store;
    this.#groups = options.map.groups.map(({ id }) => id);
    const { server, incarnation } = options.candidate;
    this.#self = { server, incarnation };
    options.own.add(incarnation);
  }

  async find(): Promise<TakenPlace | undefined> {
    try {
      for (let tries = 0; tries < triesMax; tries++) {
        const place = await this.#choose();
        if (this.#options.stop.aborted) return this.#stopListening();
        const taken = await this.#take(place);
        if (taken !== undefined) return taken;
      }
      throw new FlowherdError(errorCodes.busTimeout, `others were first at every place, ${triesMax} times in a row`);
    } catch (error) {
      await this.#giveBack();
      throw error;
    }
  }

  async #choose(): Promise<Place> {
    const { map, memberOf } = this.#options;
    const views = await this.#readViews();
    const former = this.#others(views);
    await this.#assertDead(former);
    const place = findPlace(map.groups, views, this.#self.server, memberOf);
    if (place !== undefined && (await this.#lacksServers(place.group, views))) return this.#choose();
    if (place !== undefined) {
      await this.#removeElsewhere(former, place.group);
      return place;
    }
    const where = memberOf === undefined ? 'every group of this cluster' : `group ${memberOf}`;
    throw new FlowherdError(errorCodes.limitExceeded, `${where} is full: no room for server ${this.#self.server}`);
  }

  /**
   * Whether a standby has to wait for servers: where there is none it would take a place itself, and of those for all there are no more than servers.
   * After a while the one does so, since its server may be dead, and the other is refused.
   */
  async #lacksServers(group: string, views: Views): Promise<boolean> {
    const { candidate, clock, stop, log } = this.#options;
    const problem = standbyProblem(group, views.get(group), candidate);
    if (problem === undefined || stop.aborted) return false;
    if (this.#lacksSinceMs === undefined) log.info({ group }, `${problem}; waits for servers`);
    this.#lacksSinceMs ??= clock.monotonicMs();
    if (clock.monotonicMs() - this.#lacksSinceMs >= serversMs) {
      if (candidate.standsFor?.length !== 0) return false;
      throw new FlowherdError(errorCodes.badState, problem);
    }
    await pause(clock, lookPauseMs);
    return true;
  }

  /** Joins if the actor listens there already; else it listens there, and the choice is to be made again. */
  async #take(place: Place): Promise<TakenPlace | undefined> {
    if (this.#listening?.actor.group !== place.group) {
      this.#stopListening();
      await this.#listen(place.group);
      return undefined;
    }
    const { clock, log } = this.#options;
    const { actor, egress } = this.#listening;
    actor.standing.mayActivate = false;
    if (!(await actor.join(place))) {
      if (actor.lostBecause !== undefined) {
        this.#stopListening();
        this.#beAnotherLife();
      }
      // The store may be a moment behind the log that has decided.
      await pause(clock, lookPauseMs);
      return undefined;
    }
    await this.#untilMirrored(place.group);
    if (this.#others(await this.#readViews()).length > 0) {
      await this.#giveBack();
      this.#beAnotherLife();
      await pause(clock, randomInt(clashPauseMs));
      return undefined;
    }
    if (place.replaces !== undefined) log.info({ group: place.group }, 'takes the place of its former life');
    return {
      group: place.group,
      actor,
      serve: (server) => {
        egress.open(server);
        actor.standing.mayActivate = true;
      },
      giveBack: () => this.#giveBack(),
    };
  }

  /** A life joins once. */
  #beAnotherLife(): void {
    this.#dead.add(this.#self.incarnation);
    this.#self = { server: this.#self.server, incarnation: randomInt(2 ** 47) };
    this.#options.own.add(this.#self.incarnation);
  }

  async #listen(group: string): Promise<void> {
    const { map, memberOf: _, stop: __, own: ___, candidate, ...rest } = this.#options;
    const egress = new LateEgress();
    this.#listening = {
      actor: new DsslActor({
        ...rest,
        candidate: { ...candidate, ...this.#self },
        settings: map.settings,
        birth: birthOf(map, group),
        egress,
      }),
      egress,
    };
    await this.#listening.actor.listen();
  }

  #stopListening(): undefined {
    this.#listening?.actor.stop();
    this.#listening = undefined;
  }

  /** Best effort: what cannot be taken back now is a dead member, whose place the next life of the server takes. */
  async #giveBack(): Promise<void> {
    const listening = this.#listening;
    this.#listening = undefined;
    if (listening === undefined) return;
    const { actor } = listening;
    if (actor.phase === 'joining') await Promise.race([actor.drain(0), pause(this.#options.clock, giveBackMs)]);
    actor.stop();
  }

  async #readViews(): Promise<Views> {
    const mirrors = await readMirrors(this.#store, this.#groups);
    return new Map([...mirrors].map(([group, { view }]) => [group, view]));
  }

  /** A join counts for processes in other groups when the store shows it. */
  async #untilMirrored(group: string): Promise<void> {
    const { clock } = this.#options;
    const untilMs = clock.monotonicMs() + mirroredMs;
    while (clock.monotonicMs() < untilMs) {
      const view = (await this.#readViews()).get(group);
      if (view?.members.some((member) => isLifeOf(member, this.#self))) return;
      await pause(clock, lookPauseMs);
    }
  }

  #others(views: Views): FoundLife[] {
    const { map, own } = this.#options;
    return livesOf(map.groups, views, this.#self.server).filter(({ incarnation }) => !own.has(incarnation));
  }

  /** Rejects when one of these lives answers. */
  async #assertDead(lives: readonly FoundLife[]): Promise<void> {
    const { server } = this.#self;
    const unknown = lives.filter(({ incarnation }) => !this.#dead.has(incarnation));
    await Promise.all(
      unknown.map(async ({ group, incarnation, state }) => {
        if (await answers(this.#options, group, this.#self, { server, incarnation })) {
          const what =
            state === 'draining'
              ? `still draining in group ${group}: wait until it has left`
              : `running in group ${group} already: end it first`;
          const text = `a server named ${server} is ${what}, or choose another name with --server`;
          throw new FlowherdError(errorCodes.badState, text);
        }
        this.#dead.add(incarnation);
      }),
    );
  }

  /** Former lives in other groups, which are dead, leave before the server joins. */
  async #removeElsewhere(lives: readonly FoundLife[], group: string): Promise<void> {
    const { dataBus, subjects } = this.#options;
    const { server } = this.#self;
    for (const former of lives.filter((each) => each.group !== group)) {
      const life = { server, incarnation: former.incarnation };
      const log = await dataBus.openLog(subjects.cluster, former.group);
      // Nobody else may say that a life is gone that no member has missed; it is dead, and says so by its successor.
      const command = encodeCommand({ kind: 'leave', author: life, epoch: '', life });
      await new Promise<void>((resolve) => log.append('command', command, () => resolve()));
    }
  }
}

/** Asks a life of a server in a group whether it is alive. */
async function answers(
  { controlBus, subjects, clock }: { controlBus: Bus; subjects: Subjects; clock: Clock },
  group: string,
  asker: Life,
  asked: Life,
): Promise<boolean> {
  const nonce = randomInt(2 ** 47);
  let isAlive = false;
  let wake = (): void => undefined;
  const subscription = controlBus.subscribe(subjects.peer(group, asker.server), (data) => {
    const message = decodePeer(data);
    if (message?.kind !== 'alive' || !isLifeOf(message, asked) || message.nonce !== nonce) return;
    isAlive = true;
    wake();
  });
  try {
    for (let times = 0; times < asks && !isAlive; times++) {
      controlBus.publish(subjects.peer(group, asked.server), encodePeer({ kind: 'probe', ...asker, nonce, asked }));
      await controlBus.flush();
      if (!isAlive) await Promise.race([pause(clock, askPauseMs), new Promise<void>((resolve) => (wake = resolve))]);
    }
  } finally {
    subscription.unsubscribe();
  }
  return isAlive;
}

function pause(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => clock.setTimer(ms, resolve));
}
