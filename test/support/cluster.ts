// A cluster that tests make by hand on a NATS server: its map and views are written here, and members say what a test lets them
// say. For what looks at a cluster, so that it sees the same each time; what runs one is tested with processes.

import type { Bus, KeyValue } from '../../shared/bus/bus.ts';
import { connectNats } from '../../shared/bus/nats/nats.ts';
import { type Subjects, subjectsOf } from '../../shared/bus/subjects.ts';
import type { ClusterMap } from '../../shared/config/map.ts';
import { defaultSettings, settingsSchema } from '../../shared/config/settings.ts';
import { changeView, readViews, settleMap } from '../../shared/config/store.ts';
import { encodeGossip, type GossipMessage, type LiveState } from '../../shared/membership/gossip.ts';
import type { Load } from '../../shared/membership/load.ts';
import { activate, drain, type GroupBirth, join, leave } from '../../shared/membership/transitions.ts';
import { defaultRules, type MemberState, type View } from '../../shared/membership/view.ts';
import { loadOf } from './weights.ts';

/** Reports come often, so that tests need not wait for them. */
const stateMs = 200;

export class HandCluster {
  readonly url: string;
  readonly subjects: Subjects;
  readonly bus: Bus;
  readonly store: KeyValue;
  readonly map: ClusterMap;

  private constructor(url: string, bus: Bus, store: KeyValue, map: ClusterMap, subjects: Subjects) {
    this.url = url;
    this.bus = bus;
    this.store = store;
    this.map = map;
    this.subjects = subjects;
  }

  static async make(url: string, name: string, groups: readonly string[]): Promise<HandCluster> {
    const subjects = subjectsOf(name);
    const bus = await connectNats({ url, name: 'test' });
    const store = await bus.openKeyValue(subjects.bucket);
    const map = await settleMap(store, mapByHand(groups));
    return new HandCluster(url, bus, store, map, subjects);
  }

  /** What commands need to find it. */
  get options(): string[] {
    return ['--bus', this.url, '--cluster', this.subjects.cluster];
  }

  /** Adds a member; its incarnation is the number of the view that it joined by. */
  async add(group: string, server: string, state: MemberState = 'active', weight = 100): Promise<void> {
    const { cluster, placement, rules, seed } = this.map;
    const birth: GroupBirth = { group, cluster, placement, rules, seed };
    await changeView(this.store, group, (view) => {
      const candidate = { server, incarnation: (view?.number ?? 0) + 1, weight };
      const joined = join(view, birth, candidate);
      const active = state === 'joining' ? joined : activate(joined, candidate);
      return state === 'draining' ? drain(active, candidate) : active;
    });
  }

  async remove(group: string, server: string): Promise<void> {
    await changeView(this.store, group, (view) => {
      const member = view?.members.find((each) => each.server === server);
      return view && member && leave(view, member);
    });
  }

  async view(group: string): Promise<View> {
    const view = (await readViews(this.store, [group])).get(group);
    if (view === undefined) throw new Error(`${group} has no view`);
    return view;
  }

  /** State and weights of a group's members, by name. */
  async members(group: string): Promise<Record<string, [state: MemberState, weight: number, base: number]>> {
    const { members } = await this.view(group);
    return Object.fromEntries(members.map(({ server, state, weight, base }) => [server, [state, weight, base]]));
  }

  /** Sends these again and again, as members do, until the answer is called. */
  say(group: string, messages: readonly GossipMessage[]): () => void {
    const subject = this.subjects.gossip(group);
    const timer = setInterval(() => {
      for (const message of messages) this.bus.publish(subject, encodeGossip(message));
    }, stateMs / 10);
    return () => clearInterval(timer);
  }

  close(): Promise<void> {
    return this.bus.close();
  }
}

/** What a member says of itself. */
export function stateOf(server: string, incarnation: number, state: LiveState, load?: Partial<Load>): GossipMessage {
  const whole = load === undefined ? undefined : { ...idle, ...load };
  return { kind: 'state', server, incarnation, beat: 1, state, view: 1, load: whole };
}

export const idle: Load = loadOf({});

/** The map of a cluster that nobody has changed yet. */
export function mapByHand(groups: readonly string[]): ClusterMap {
  return {
    version: 1,
    cluster: 'by-hand',
    groupSelection: 'weighted',
    groups: groups.map((id) => ({ id, weight: 100, serves: 'both', vlan: 0 })),
    keys: {
      flow: 'five-tuple',
      group: 'address-pair',
      symmetric: true,
      tunnel: 'outer',
      subscriberNetworks: [],
      secretFingerprint: 'f',
    },
    placement: 'rendezvous',
    rules: defaultRules,
    seed: 1,
    settings: settingsSchema.parse({ ...defaultSettings, watching: { stateMs } }),
  };
}
