// How a server finds its place in a cluster by itself: the shell round shared/membership/assignment.ts, which makes the choice.
//
//   read views ─► the name is there? ─ yes ─► does that life answer? ─ yes ─► refused
//       ▲              │ no                        │ no: its place is free
//       │              └────────────┬──────────────┘
//       │                        choose ─► listen there ─► read and choose again ─► join, as it was chosen
//       └──────────── declined, or the name appeared elsewhere meanwhile ◄────────────┘
//
// The actor listens before it joins, so it misses no start of a flow. It joins as `joining` and stays so until its server
// is started and given to it (`serve`): a server is told its group when it is made, and the group is certain only now.
//
// A view per group means that two processes of one name could join two groups in the same moment. Each reads the other
// groups once more after its join; the later one at least sees the other, takes its join back and begins again.

import { randomInt } from 'node:crypto';
import type { Clock } from '../../../shared/base/clock.ts';
import { errorCodes, FlowherdError } from '../../../shared/base/errors.ts';
import type { Bus, KeyValue } from '../../../shared/bus/bus.ts';
import type { Subjects } from '../../../shared/bus/subjects.ts';
import type { ClusterMap } from '../../../shared/config/map.ts';
import { changeView, readViews } from '../../../shared/config/store.ts';
import {
  type FoundLife,
  findPlace,
  joinAt,
  livesOf,
  type Place,
  type Views,
} from '../../../shared/membership/assignment.ts';
import { type GroupBirth, type Life, leave, withdraw } from '../../../shared/membership/transitions.ts';
import { findMember } from '../../../shared/membership/view.ts';
import { DsslActor, type DsslActorOptions } from '../actor.ts';
import type { Egress } from '../egress/egress.ts';
import { LateEgress } from '../egress/late.ts';
import { decodeSync, encodeLife } from '../old/sync.ts';

export interface PlaceOptions extends Omit<DsslActorOptions, 'birth' | 'egress' | 'settings'> {
  readonly map: ClusterMap;
  /** The group to join; default: the one most in need. */
  readonly memberOf: string | undefined;
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
export function removalOf({ core, group }: DsslActor): FlowherdError {
  const { server } = core.candidate;
  const view = core.views.newest?.view;
  const text =
    view !== undefined && findMember(view, server) !== undefined
      ? `server ${server} was replaced in group ${group}: it did not answer, and another process of that name took its place`
      : `server ${server} was removed from group ${group}; start it again to join anew`;
  return new FlowherdError(errorCodes.badState, text);
}

class PlaceFinder {
  readonly #options: PlaceOptions;
  readonly #store: KeyValue;
  readonly #groups: readonly string[];
  readonly #self: Life;
  /** Incarnations that were asked and did not answer. */
  readonly #dead = new Set<number>();
  #listening: { readonly actor: DsslActor; readonly egress: LateEgress } | undefined;

  constructor(options: PlaceOptions, store: KeyValue) {
    this.#options = options;
    this.#store = store;
    this.#groups = options.map.groups.map(({ id }) => id);
    const { server, incarnation } = options.candidate;
    this.#self = { server, incarnation };
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
    const views = await readViews(this.#store, this.#groups);
    const former = this.#others(views);
    await this.#assertDead(former);
    const place = findPlace(map.groups, views, this.#self.server, memberOf);
    if (place !== undefined) {
      await this.#removeElsewhere(former, place.group);
      return place;
    }
    const where = memberOf === undefined ? 'every group of this cluster' : `group ${memberOf}`;
    throw new FlowherdError(errorCodes.limitExceeded, `${where} is full: no room for server ${this.#self.server}`);
  }

  /** Joins if the actor listens there already; else it listens there, and the choice is to be made again. */
  async #take(place: Place): Promise<TakenPlace | undefined> {
    if (this.#listening?.actor.group !== place.group) {
      this.#stopListening();
      await this.#listen(place.group);
      return undefined;
    }
    const { candidate, clock, log } = this.#options;
    const { actor, egress } = this.#listening;
    const birth = birthOf(this.#options.map, place.group);
    if (!(await actor.join((view) => joinAt(view, birth, candidate, place)))) return undefined;
    if (this.#others(await readViews(this.#store, this.#groups)).length > 0) {
      await this.#giveBack();
      await pause(clock, randomInt(clashPauseMs));
      return undefined;
    }
    if (place.replaces !== undefined) log.info({ group: place.group }, 'takes the place of its former life');
    actor.core.mayActivate = false;
    actor.run();
    return {
      group: place.group,
      actor,
      serve: (server) => {
        egress.open(server);
        actor.core.mayActivate = true;
      },
      giveBack: () => this.#giveBack(),
    };
  }

  async #listen(group: string): Promise<void> {
    const { map, memberOf: _, stop: __, ...rest } = this.#options;
    const egress = new LateEgress();
    this.#listening = {
      actor: new DsslActor({ ...rest, settings: map.settings, birth: birthOf(map, group), egress }),
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
    const group = this.#listening?.actor.group;
    this.#stopListening();
    if (group === undefined) return;
    await changeView(this.#store, group, (view) => view && withdraw(view, this.#self)).catch(() => undefined);
  }

  #others(views: Views): FoundLife[] {
    const { server, incarnation } = this.#self;
    return livesOf(this.#options.map.groups, views, server).filter((life) => life.incarnation !== incarnation);
  }

  /** Rejects when one of these lives answers. */
  async #assertDead(lives: readonly FoundLife[]): Promise<void> {
    const { server } = this.#self;
    const unknown = lives.filter(({ incarnation }) => !this.#dead.has(incarnation));
    await Promise.all(
      unknown.map(async ({ group, incarnation, state }) => {
        if (await answers(this.#options, group, { server, incarnation })) {
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

  /** A name is in one group only: former lives in others are removed before the server joins. */
  async #removeElsewhere(lives: readonly FoundLife[], group: string): Promise<void> {
    const { server } = this.#self;
    for (const life of lives.filter((each) => each.group !== group)) {
      const { incarnation } = life;
      await changeView(this.#store, life.group, (view) => view && leave(view, { server, incarnation }));
    }
  }
}

/** Asks a life of a server whether it is alive. Rejects when nothing can be asked: then silence says nothing. */
async function answers(
  { controlBus, subjects, clock }: { controlBus: Bus; subjects: Subjects; clock: Clock },
  group: string,
  life: Life,
): Promise<boolean> {
  const subject = subjects.control(group);
  const nonce = randomInt(2 ** 47);
  let isAlive = false;
  let wake = (): void => undefined;
  const subscription = controlBus.subscribe(subject, (message) => {
    const sync = decodeSync(message);
    if (sync?.kind !== 'alive' || sync.server !== life.server) return;
    if (sync.incarnation !== life.incarnation || sync.nonce !== nonce) return;
    isAlive = true;
    wake();
  });
  try {
    for (let asked = 0; asked < asks && !isAlive; asked++) {
      controlBus.publish(subject, encodeLife({ kind: 'probe', ...life, nonce }));
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

function birthOf(map: ClusterMap, group: string): GroupBirth {
  return { group, cluster: map.cluster, placement: map.placement, seed: map.seed, rules: map.rules };
}
