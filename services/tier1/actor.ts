// The shell of tier 1: it connects the distributor (distribute.ts) to the bus, follows the views of all groups and what
// their members say of themselves, and keeps frames from waiting. Whoever feeds it packets waits for `ready` between
// batches: that is where the bus slows it down.

import type { Clock, Timer } from '../../shared/base/clock.ts';
import { limits } from '../../shared/base/limits.ts';
import type { Bus, Subscription } from '../../shared/bus/bus.ts';
import { everyViewKey, groupOfViewKey, parseSubject, type Subjects } from '../../shared/bus/subjects.ts';
import type { ClusterMap } from '../../shared/config/map.ts';
import type { ClusterSettings } from '../../shared/config/settings.ts';
import type { FlowKeyer } from '../../shared/flow/keyer.ts';
import { decodeGossip } from '../../shared/membership/gossip.ts';
import { decodeView } from '../../shared/membership/view.ts';
import { Distributor } from './distribute.ts';
import { GroupTable } from './routing/groupTable.ts';
import { tellMapping } from './routing/mappingWords.ts';
import { SilentGroups } from './routing/silentGroups.ts';

export interface Tier1Log {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export interface Tier1ActorOptions {
  readonly tier1Id: string;
  readonly map: ClusterMap;
  readonly keyer: FlowKeyer;
  readonly subjects: Subjects;
  /** Connection for frames, and the one for the key-value store; may be the same. */
  readonly dataBus: Bus;
  readonly controlBus: Bus;
  readonly clock: Clock;
  /** Whether packets carry wall time (`live`) or the time of a capture. An idle tier 1 says the time in its frames. */
  readonly packetTime: 'live' | 'capture';
  /** Told of each frame before it leaves, for those who measure. */
  readonly onSend?: (group: number, sequence: number, packets: number) => void;
  /** Told when a group is mapped out or in. */
  readonly log?: Tier1Log;
}

/** Which groups are not where the map has them, and what that meant so far. */
export interface Mapping {
  /** Groups that are mapped out at present, by name. */
  readonly out: readonly string[];
  /** How often a group was mapped out. */
  readonly timesOut: number;
  /** Packets that went to another group than the map's. */
  readonly diverted: number;
}

export class Tier1Actor {
  readonly distributor: Distributor;
  /** Messages of gossip that were none, or about no group of the map. */
  gossipFaults = 0;
  readonly #options: Tier1ActorOptions;
  readonly #waitingForServers = new Set<number>();
  readonly #indexOf: ReadonlyMap<string, number>;
  readonly #table: GroupTable;
  readonly #silent: SilentGroups;
  #stopWatch: (() => void) | undefined;
  #gossip: Subscription | undefined;
  #linger: Timer | undefined;
  #idle: Timer | undefined;
  #judge: Timer | undefined;
  #whenServed: (() => void)[] = [];

  constructor(options: Tier1ActorOptions) {
    const { map, tier1Id, keyer, dataBus, subjects } = options;
    this.#options = options;
    const subjectOf = map.groups.map((group) => subjects.data(group.id));
    for (let group = 0; group < map.groups.length; group++) this.#waitingForServers.add(group);
    this.#indexOf = new Map(map.groups.map((group, index) => [group.id, index]));
    this.#table = new GroupTable(map.groups, map.groupSelection);
    this.#silent = new SilentGroups(map.groups, map.settings);
    this.distributor = new Distributor({
      tier1Id,
      mapVersion: map.version,
      groups: map.groups.length,
      table: this.#table,
      keyer,
      publish: (group, frame, sequence, packets) => {
        const sent = dataBus.publish(subjectOf[group], frame);
        if (sent) options.onSend?.(group, sequence, packets);
        return sent;
      },
    });
  }

  /** The name under which frames leave. */
  get id(): string {
    return this.#options.tier1Id;
  }

  get packetTime(): 'live' | 'capture' {
    return this.#options.packetTime;
  }

  /** Reads the views and follows them. Rejects with a FlowherdError. */
  async start(): Promise<void> {
    const { controlBus, subjects, map, clock } = this.#options;
    const store = await controlBus.openKeyValue(subjects.bucket);
    this.#gossip = controlBus.subscribe(subjects.every('gossip'), (message, subject) => this.#hear(message, subject));
    controlBus.onStatus(({ kind }) => {
      if (kind === 'reconnected') this.#silent.startAnew(clock.monotonicMs());
    });
    this.#stopWatch = await store.watch(everyViewKey, (entry) => {
      const index = this.#indexOf.get(groupOfViewKey(entry.key) ?? '');
      const view = decodeView(entry.value);
      if (index === undefined || view === undefined || view.cluster !== map.cluster) return;
      const hasServer = view.members.some((member) => member.state !== 'joining');
      if (!this.distributor.setView(index, view.number, hasServer)) return;
      this.#silent.setMembers(index, view.members);
      this.#remap();
      if (hasServer) this.#waitingForServers.delete(index);
      if (this.#waitingForServers.size === 0) for (const resolve of this.#whenServed.splice(0)) resolve();
    });
    const sayIdle = () => {
      this.distributor.idle(this.#options.packetTime === 'live' ? clock.nowMs() : undefined);
      this.#idle = clock.setTimer(limits.idleFrameMs, sayIdle);
    };
    this.#idle = clock.setTimer(limits.idleFrameMs, sayIdle);
    const judge = () => {
      this.#remap();
      this.#judge = clock.setTimer(limits.groupTickMs, judge);
    };
    this.#judge = clock.setTimer(limits.groupTickMs, judge);
  }

  /** Takes changed settings of the cluster over. */
  retune(settings: ClusterSettings): void {
    this.#silent.retune(settings);
  }

  get mapping(): Mapping {
    const diverted = this.#table.diverted.reduce((sum, packets) => sum + packets, 0);
    return { out: this.#namesOf([...this.#silent.out]), timesOut: this.#silent.timesOut, diverted };
  }

  /**
   * Groups for whose lack of servers this tier 1 does not do its work, by name: before it begins, every one that has no
   * server; later all of them, when no group is there to take the flows of the others.
   */
  get missing(): readonly string[] {
    const { groups } = this.#options.map;
    const unserved = groups.map((_, group) => group).filter((group) => !this.distributor.hasServer(group));
    return this.#waitingForServers.size > 0 || unserved.length === groups.length ? this.#namesOf(unserved) : [];
  }

  /** True when every group has a server at the moment. */
  get isServed(): boolean {
    return this.distributor.isServed;
  }

  /** Resolves when every group has had a server. */
  whenServed(): Promise<void> {
    if (this.#waitingForServers.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#whenServed.push(resolve));
  }

  /** True while packets may be fed without waiting. */
  get isReady(): boolean {
    return this.#options.dataBus.writable;
  }

  /** Resolves when the bus takes more. */
  ready(): Promise<void> {
    return this.#options.dataBus.whenWritable();
  }

  /** To be called after a run of packets was fed: what lies in open frames leaves within `limits.frameLingerMs`. */
  fed(): void {
    if (this.#linger !== undefined || this.distributor.pending === 0) return;
    this.#linger = this.#options.clock.setTimer(limits.frameLingerMs, () => {
      this.#linger = undefined;
      this.distributor.flush();
    });
  }

  /** Publishes what is left and stops; the connections stay open. */
  async stop(): Promise<void> {
    this.#linger?.cancel();
    this.#idle?.cancel();
    this.#judge?.cancel();
    this.#gossip?.unsubscribe();
    this.#stopWatch?.();
    this.distributor.flush();
    await this.#options.dataBus.flush();
  }

  #hear(bytes: Uint8Array, subject: string): void {
    const group = this.#indexOf.get(parseSubject(subject)?.name ?? '');
    const message = decodeGossip(bytes);
    if (group === undefined || message === undefined) this.gossipFaults++;
    else if (message.kind === 'state') this.#silent.hear(group, message, this.#options.clock.monotonicMs());
  }

  /** Maps groups out and in, when it is time to. */
  #remap(): void {
    const changes = this.#silent.tick(this.#options.clock.monotonicMs());
    if (changes.length === 0) return;
    const { out } = this.#silent;
    this.#table.mapOut(out);
    const { log, map } = this.#options;
    if (log === undefined) return;
    for (const change of changes) tellMapping(log, map.groups, change, out, this.#silent.returnMs(change.group));
  }

  #namesOf(groups: readonly number[]): string[] {
    return groups.map((group) => this.#options.map.groups[group].id);
  }
}
