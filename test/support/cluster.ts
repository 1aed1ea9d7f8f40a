// A cluster that tests make by hand on a NATS server: its map and the commands in its logs are written here, and members say what a
// test lets them say. For what looks at a cluster or orders something of it, so that it sees the same each time; what runs one is
// tested with processes.

import type { Bus, KeyValue } from '../../shared/bus/bus.ts';
import { connectNats } from '../../shared/bus/nats/nats.ts';
import { type Subjects, subjectsOf } from '../../shared/bus/subjects.ts';
import { type ClusterMap, defaultLogSettings } from '../../shared/config/map.ts';
import { defaultSettings, settingsSchema } from '../../shared/config/settings.ts';
import { readMirrors, settleMap } from '../../shared/config/store.ts';
import { encodeGossip, type GossipMessage, type LineReport, type LiveState } from '../../shared/membership/gossip.ts';
import type { Load } from '../../shared/membership/load.ts';
import { defaultRules, type MemberState, type View } from '../../shared/membership/view.ts';
import { HandLog } from './handLog.ts';

/** Reports come often, so that tests need not wait for them. */
const stateMs = 200;

export class HandCluster {
  readonly url: string;
  readonly subjects: Subjects;
  readonly bus: Bus;
  readonly store: KeyValue;
  readonly map: ClusterMap;
  readonly #logs = new Map<string, HandLog>();

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
    const cluster = new HandCluster(url, bus, store, map, subjects);
    for (const group of groups) cluster.#logs.set(group, await HandLog.begin(bus, subjects, map, group));
    return cluster;
  }

  /** What commands need to find it. */
  get options(): string[] {
    return ['--bus', this.url, '--cluster', this.subjects.cluster];
  }

  /** Adds a member; its incarnation is the number of the view that it joined by. */
  async add(group: string, server: string, state: MemberState = 'active', weight = 100): Promise<void> {
    const log = this.log(group);
    const author = { server, incarnation: log.view.number + 1 };
    await log.command({ kind: 'join', author, weight, replaces: undefined, needAt: undefined });
    if (state !== 'joining') await log.command({ kind: 'activate', author });
    if (state === 'draining') await log.command({ kind: 'drain', author, life: author });
  }

  async remove(group: string, server: string): Promise<void> {
    const log = this.log(group);
    const member = log.view.members.find((each) => each.server === server);
    if (member !== undefined) await log.command({ kind: 'leave', author: member, life: member });
  }

  log(group: string): HandLog {
    const log = this.#logs.get(group);
    if (log === undefined) throw new Error(`there is no group ${group}`);
    return log;
  }

  /** As the store has it. */
  async view(group: string): Promise<View> {
    const mirror = (await readMirrors(this.store, [group])).get(group);
    if (mirror === undefined) throw new Error(`${group} has no view`);
    return mirror.view;
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
    for (const log of this.#logs.values()) log.stop();
    return this.bus.close();
  }
}

/** What a member says of itself. */
export function stateOf(
  server: string,
  incarnation: number,
  state: LiveState,
  load?: Partial<Load>,
  line?: LineReport,
): GossipMessage {
  const whole = load === undefined ? undefined : { ...idle, ...load };
  return { kind: 'state', server, incarnation, beat: 1, state, view: 1, line, load: whole, digests: [] };
}

export const idle: Load = {
  flows: 0,
  newFlows: 0,
  packets: 0,
  bytes: 0,
  loopDelayMs: 0,
  cpu: 0,
  memoryBytes: 0,
  tableFill: 0,
  temperature: undefined,
  handler: undefined,
  latencyMs: undefined,
  loss: undefined,
};

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
    log: defaultLogSettings,
    settings: settingsSchema.parse({ ...defaultSettings, watching: { stateMs } }),
  };
}
